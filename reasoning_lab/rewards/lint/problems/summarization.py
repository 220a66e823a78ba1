"""Short reports to be put into one sentence."""

from reasoning_lab.data.example import Example
from reasoning_lab.rewards.lint.problem import Answer, Problem


def _problem(document: str, reference: str, first: Answer, second: Answer, wrong: str) -> Problem:
    example = Example(
        reference,
        "lint",
        "summarization",
        f"Summarise this report in one sentence.\n{document}",
        None,
        reference,
        "",
        kind="open",
        document=document,
    )
    return Problem(example, (first, second), wrong)


PROBLEMS = (
    _problem(
        "City buses stand at stops for a third of their time, mostly because passengers pay the "
        "driver. In a trial that lasted for six months, the transport office let passengers of "
        "four lines board through all doors and pay at machines inside. Stops became eleven "
        "seconds shorter on average, and the buses kept to their timetable on nine days out of "
        "ten. Income fell by two percent in the first month but came back to its earlier level "
        "once inspectors had been hired. Drivers said that they felt less hurried. The office now "
        "plans to bring the change to every line by next spring.",
        "Letting bus passengers board by every door and pay at machines made stops shorter and "
        "buses more punctual without a lasting loss of income.",
        Answer(
            "The report gives a cause, a change, figures and a plan. One sentence has no room for "
            "figures, so I name the change and what came of it, and leave the plan out.",
            "A trial found that when passengers board through all doors and pay at machines, stops "
            "get shorter and buses more punctual, with no lasting loss of income.",
        ),
        Answer(
            "First comes what was done, then what it brought about. Somebody who decides on it "
            "will ask about money too, so the sentence has to end with that.",
            "Boarding buses through all doors and paying at machines inside made stops shorter and "
            "the buses more reliable, while income soon recovered.",
        ),
        "Bus drivers in the city went on strike because their machines were too slow.",
    ),
    _problem(
        "Farmers in dry regions lose much of their irrigation water to evaporation. A group of "
        "engineers buried clay pots beside young trees and filled them once a week. The unglazed "
        "walls let water seep out only as fast as the soil around them dries. Over two summers, "
        "trees with pots needed seventy percent less water than those with drip hoses, and "
        "slightly more of them survived. The pots cost little and were made by a local pottery. "
        "They did crack in the only winter with hard frost, so the engineers advise against them "
        "in cold places.",
        "Buried clay pots that slowly release water let young trees in dry regions survive with "
        "far less water than drip hoses, but frost cracks them.",
        Answer(
            "The engineers compare two ways of watering. I have to say which of them is better and "
            "by how much, and I must not forget where it fails.",
            "Clay pots buried beside young trees release water slowly, so that the trees survive "
            "with far less water than with drip hoses, but the pots crack in frost.",
        ),
        Answer(
            "I need the method, the gain and the drawback. Numbers, prices and the potter can go, "
            "because nobody would miss them in a sentence as short as this.",
            "Young trees in dry regions need far less water with buried clay pots than with drip "
            "hoses, although the pots do not survive frost.",
        ),
        "Engineers advise farmers in cold regions to plant more trees beside their potteries.",
    ),
)

"""Word problems in the style of GSM8K, with worked traces, from reasoning-gym."""

import re
from collections.abc import Iterator
from fractions import Fraction
from random import Random

from pydantic import Field

from reasoning_lab.config import spec
from reasoning_lab.data.equations import equations, holds
from reasoning_lab.data.example import Example
from reasoning_lab.data.specs import Domain, Source

# Items depend on (seed, index) alone, so this only bounds the stream.
_SIZE = 200_000
_SUFFIX = " Give the result as your final answer. Do not include units."
_CURRENCY = re.compile("[$€£]")
# 220.0 metres, 14.500000000000002 hours: floats that were printed, not numbers that one writes.
_PRINTED_FLOAT = re.compile(r"[0-9]\.(?:0(?![0-9])|[0-9]{3})")


@spec
class GsmSymbolic(Source):
    """Templates of GSM8K problems with fresh names and numbers (GSM-Symbolic, arXiv 2410.05229).

    A problem is left out, from training and from evaluation, if an equation of its trace is false
    or cannot be read: about one in four of those within 400 characters. Most are only written in a
    way that is not checked here, but some have wrong answers ("3024/60=50").
    """

    domain: Domain = "word_problem"
    max_chars: int = Field(
        default=400, ge=100, description="longest question and trace together, in characters"
    )

    def examples(self, *, name: str, seed: int) -> Iterator[Example]:
        from reasoning_gym import create_dataset

        # reasoning-gym adds the index to the seed: neighbouring seeds would share problems.
        start = Random(f"{name}/{seed}").getrandbits(32)
        problems = create_dataset("gsm_symbolic", seed=start, size=_SIZE)
        for index in range(_SIZE):
            problem = problems[index]
            question = problem["question"].removesuffix(_SUFFIX)
            trace = problem["metadata"]["answer_cot"].rpartition("####")[0].strip()
            if len(question) + len(trace) <= self.max_chars and _sound(
                question, trace, problem["answer"]
            ):
                yield Example(
                    id=f"{name}: {start}+{index}",
                    source=name,
                    domain=self.domain,
                    question=question,
                    reasoning=trace,
                    answer=problem["answer"],
                    licence="Apache-2.0",
                )


def _sound(question: str, trace: str, answer: str) -> bool:
    """Whether the trace's equations are true and the last one gives the answer."""
    text = question + trace
    if _PRINTED_FLOAT.search(text) or len(set(_CURRENCY.findall(text))) > 1:
        return False
    steps = equations(trace)
    return (
        bool(steps)
        and all(holds(left, right) for left, right in steps)
        and Fraction(steps[-1][1]) == Fraction(answer)
    )

"""Questions with options, one of which is right."""

from reasoning_lab.data.example import Example
from reasoning_lab.rewards.lint.problem import Answer, Problem


def _problem(
    question: str, options: tuple[str, ...], right: str, first: str, second: str, wrong: str
) -> Problem:
    letters = "ABCD"
    by_letter = {letter: f"{letter}: {text}" for letter, text in zip(letters, options, strict=True)}
    asked = "\n".join([question, *by_letter.values()])
    example = Example(
        question,
        "lint",
        "science",
        asked,
        None,
        by_letter[right],
        "",
        kind="choice",
        options=options,
    )
    return Problem(
        example, (Answer(first, by_letter[right]), Answer(second, right)), by_letter[wrong]
    )


PROBLEMS = (
    _problem(
        "Why does a metal spoon in hot soup soon feel hot at its dry end?",
        (
            "Steam from the soup melts the metal",
            "Heat is conducted along the metal",
            "Light from the soup warms the handle",
            "The handle makes heat by itself",
        ),
        "B",
        (
            "The dry end of the spoon does not touch the soup, so the heat has to travel through "
            "the spoon. Metal is a good conductor, because its electrons pass energy on quickly."
        ),
        (
            "A metal spoon conducts heat well. The soup warms one end, and the moving particles "
            "push those beside them, which carries the heat up to the dry end of the handle."
        ),
        "C",
    ),
    _problem(
        "A plant is kept in a dark cupboard for two weeks. What will most likely happen?",
        (
            "It grows more flowers",
            "Its roots turn into leaves",
            "It stays exactly the same",
            "Its leaves turn pale and it weakens",
        ),
        "D",
        (
            "Plants make sugar from light. In a dark cupboard there is no light, so the plant "
            "cannot make food and stops making the green colour of its leaves."
        ),
        (
            "Without light there is no photosynthesis. The plant uses up what it has stored within "
            "two weeks, and because chlorophyll is lost its leaves become yellow."
        ),
        "A",
    ),
    _problem(
        "Which change shows that a new substance has been made?",
        (
            "A nail rusts in damp air",
            "An ice cube melts in a glass",
            "Sugar dissolves in warm tea",
            "Paper is cut into small pieces",
        ),
        "A",
        (
            "Melting, dissolving and cutting only change the form of a substance. Rust is a "
            "compound of iron and oxygen, so a new substance has been made from the nail."
        ),
        (
            "Rust is not iron any more, because iron has joined with oxygen from the air. In the "
            "other cases the same substance is still there after the change."
        ),
        "B",
    ),
)

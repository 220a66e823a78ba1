import pytest

from reasoning_lab.formats import render_completion
from reasoning_lab.rewards.creative_basic import CreativeBasic
from tests.rewards.attempts import HOSTILE, answered, attempt

PLAN = "We begin in a harbour at night and end there in the morning."  # 60 characters
STORY = " ".join(f"On day {number} the sea was another colour." for number in range(5))


def score(plan: str, story: str, *, truncated: bool = False) -> float:
    one = attempt(render_completion(plan, story), "", truncated=truncated)
    (value,) = CreativeBasic().score([one])
    return value


@pytest.mark.parametrize(
    ("term", "planning"),
    [
        ("", 0),
        ("character", 0.4),
        ("Protagonists", 0.4),
        ("motivation", 0.4),
        ("because", 0.4),
        ("therefore", 0.4),
        ("conflict", 0.4),
        ("arc", 0.4),
        ("tone", 0.2),
        ("style", 0.2),
        ("pacing", 0.2),
        ("character protagonist", 0.4),
        ("character arc", 0.8),
        ("Character, because, TONE", 1),
        ("search stones", 0),  # "arc" and "tone" are words of their own
    ],
)
def test_planning(term: str, planning: float) -> None:
    assert score(f"{PLAN} {term}", STORY) == pytest.approx(0.6 * planning + 0.4)


@pytest.mark.parametrize(("distinct", "coherence"), [(10, 1), (9, 0.75), (8, 0.5), (6, 0), (1, 0)])
def test_coherence(distinct: int, coherence: float) -> None:
    sentences = [f"On day {number % distinct} the sea was green." for number in range(10)]
    assert score(PLAN, " ".join(sentences)) == pytest.approx(0.4 * coherence)
    assert score(PLAN, "\n".join(sentences).upper()) == pytest.approx(0.4 * coherence)


def test_short_parts_earn_nothing() -> None:
    assert score("x" * 49, STORY) == score(PLAN, "x" * 149) == 0
    assert score("x" * 50, "x" * 150) == pytest.approx(0.4)


def test_a_truncated_or_malformed_completion_earns_nothing() -> None:
    assert score(PLAN, STORY, truncated=True) == 0
    assert CreativeBasic().score([attempt(render_completion(PLAN, STORY) * 2), attempt("")]) == [
        0,
        0,
    ]


def test_no_hostile_text_raises_or_leaves_the_range() -> None:
    hostile = [answered(text, "", text) for text in HOSTILE]
    hostile += [attempt(text, "") for text in HOSTILE]
    assert all(0 <= value <= 1 for value in CreativeBasic().score(hostile))

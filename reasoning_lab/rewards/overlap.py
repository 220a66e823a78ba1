"""How many words two texts share, and in which order. No measure of it sees a "not"."""

from collections import Counter

from rapidfuzz.distance import LCSseq

from reasoning_lab.rewards.prose import words

# The longest common subsequence takes time in proportion to the product of both lengths.
MAX_WORDS = 2000


def rouge_1(text: str, reference: str) -> float:
    """ROUGE-1 F: words shared in any order, 0 to 1; without stemming, 0 if either text is empty."""
    left, right = words(text), words(reference)
    return _f(sum((Counter(left) & Counter(right)).values()), len(left), len(right))


def rouge_l(text: str, reference: str) -> float:
    """ROUGE-L F: words shared in the same order, 0 to 1; of the first `MAX_WORDS` of each text."""
    left, right = words(text)[:MAX_WORDS], words(reference)[:MAX_WORDS]
    return _f(LCSseq.similarity(left, right), len(left), len(right))


def copied(text: str, source: str, run: int) -> float:
    """The share of the runs of `run` words in `text` that stand in `source` too; 0 without runs."""
    runs, there = word_runs(text, run), word_runs(source, run)
    return len(runs & there) / len(runs) if runs else 0.0


def word_runs(text: str, length: int) -> set[tuple[str, ...]]:
    """All runs of so many words in a row."""
    spoken = words(text)
    return set(zip(*(spoken[start:] for start in range(length)), strict=False))


def _f(shared: float, left: int, right: int) -> float:
    return 2 * shared / (left + right) if shared else 0.0

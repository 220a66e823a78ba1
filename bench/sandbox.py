"""How many model-written programs a second the code reward judges, each in its own sandbox.

python -m bench.sandbox [--programs 200]
"""

import argparse
import os
import time

from reasoning_lab.data.example import Example
from reasoning_lab.formats import render_completion
from reasoning_lab.rewards.sandbox.judge import judge
from reasoning_lab.rewards.specs import Attempt

# Like those of MBPP: a few lines of Python, and three assertions.
_PROGRAM = """
import re
from collections import Counter

def most_common(text, n):
    words = re.findall(r"[a-z]+", text.lower())
    return Counter(words).most_common(n)
"""
_TESTS = (
    "assert most_common('a b a c a b', 2) == [('a', 3), ('b', 2)]",
    "assert most_common('One, one; two.', 1) == [('one', 2)]",
    "assert most_common('', 3) == []",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=200, help="programs to judge")
    count: int = parser.parse_args().programs
    example = Example("1", "bench", "code", "?", None, "", "", kind="code", tests=_TESTS)
    attempts = [
        # The number keeps them apart: the same program would run only once.
        Attempt(example, render_completion("", f"{_PROGRAM}\n# {i}"), truncated=False)
        for i in range(count)
    ]
    judge(attempts[:1], seconds_per_program=10)  # finds bubblewrap
    started = time.perf_counter()
    verdicts = judge(attempts, seconds_per_program=10)
    seconds = time.perf_counter() - started
    passed = sum(one.outcome == "passed" for one in verdicts)
    print(
        f"{count} programs, {passed} passed, {seconds:.1f} s on {len(os.sched_getaffinity(0))} "
        f"cores: {count / seconds:.1f} programs/s"
    )


if __name__ == "__main__":
    main()

"""A program that asks math-verify, run by math_verifier.py in a process of its own.

It is run as a file and imports nothing of ours: starting it loads neither JAX nor the main program.
In: one line of JSON, [given, expected]. Out: READY once, then for each line YES or NO.
"""

import json
import logging
import os
import resource
import signal
import sys

from latex2sympy2_extended.latex2sympy2 import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify

READY, YES, NO = b"r", b"1", b"0"

_MAX_BYTES = 2 * 1024**3  # of memory: a huge power is refused instead of filling the machine
_MAX_SECONDS = 60  # our parent kills us much sooner, unless it is gone

# Units are not taken away: 5 miles are not 5.
_WHOLE_FORMULA = LatexExtractionConfig(
    normalization_config=NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=False, boxed="none"
    )
)


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_BYTES, _MAX_BYTES))
    logging.disable()
    answers = os.dup(1)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)  # its parser prints what it cannot read
    os.dup2(silence, 2)
    os.write(answers, READY)
    for line in sys.stdin.buffer:
        signal.alarm(_MAX_SECONDS)
        os.write(answers, YES if _equivalent(*json.loads(line)) else NO)
        signal.alarm(0)


def _equivalent(given: str, expected: str) -> bool:
    """Both are read as one whole formula, so that no number is picked out of a sentence."""
    try:
        formulas = [
            # Its own timeouts are off: they rely on SIGALRM, and our parent is stricter.
            parse(
                f"${text}$",
                extraction_config=[_WHOLE_FORMULA],
                fallback_mode="no_fallback",
                extraction_mode="first_match",
                parsing_timeout=None,
            )
            for text in (expected, given)
        ]
        # 12 decimals instead of 6: 0.333333 is not 1/3.
        return bool(verify(*formulas, float_rounding=12, timeout_seconds=None))
    except Exception:  # whatever a formula makes sympy raise, it is not the answer
        return False


if __name__ == "__main__":
    main()

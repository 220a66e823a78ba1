"""Verbs on runs: `python -m reasoning_lab ask | evaluate | resume RUN`.

RUN is a folder, a run id or "latest".
"""

import argparse
import sys

from reasoning_lab import __version__
from reasoning_lab.config import ConfigError, RunError
from reasoning_lab.runs.files import DiskFullError
from reasoning_lab.runs.folder import RunFolder


def main(arguments: list[str] | None = None) -> int:
    """Run one verb.

    The exit status is 2 for a mistake in what was asked for, 1 for a run that cannot go on, and 130
    for Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    try:
        options.verb(options)
    except (ConfigError, DiskFullError) as error:
        print(error, file=sys.stderr)
        return 2
    except RunError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def ask(options: argparse.Namespace) -> None:
    from reasoning_lab.stages import use

    use.ask(
        RunFolder.open(options.run),
        options.question,
        max_completion_length=options.max_completion_length,
        temperature=options.temperature,
        seed=options.seed,
    )


def evaluate(options: argparse.Namespace) -> None:
    from reasoning_lab.stages import use

    use.evaluate(RunFolder.open(options.run), options.overrides)


def resume(options: argparse.Namespace) -> None:
    from reasoning_lab.stages import recipe

    recipe.resume(RunFolder.open(options.run))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m reasoning_lab", description=__doc__)
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def add(verb: object, description: str) -> argparse.ArgumentParser:
        name = verb.__name__  # type: ignore[attr-defined]
        sub = verbs.add_parser(name, help=description, description=description)
        sub.add_argument("run", metavar="RUN", help='run folder, run id, or "latest"')
        sub.set_defaults(verb=verb)
        return sub

    asking = add(ask, "ask the tuned model a question and stream its answer")
    asking.add_argument("question")
    asking.add_argument("--max-completion-length", type=int, default=512, help="tokens at most")
    asking.add_argument("--temperature", type=float, default=0.0, help="0 is greedy")
    asking.add_argument("--seed", type=int, default=0, help="for temperatures above 0")
    evaluating = add(evaluate, "evaluate the tuned model again, on any data")
    evaluating.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="data=NAME, data.* and evaluation.* as for launch.py; without any: the run's own",
    )
    add(resume, "go on with an interrupted, failed or killed run from its newest checkpoint")
    return parser


if __name__ == "__main__":
    sys.exit(main())

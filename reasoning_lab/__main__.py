"""Verbs on runs (`ask | evaluate | resume RUN`) and sweeps (`compare | watch | dashboard SWEEP`).

RUN is a folder, a run id or "latest"; SWEEP a folder or a name. Two more look at what a run would
use: `lint-reward reward=NAME` and `data show | stats | funnel KEY=VALUE ...`.
"""

import argparse
import json
import sys
from pathlib import Path

from reasoning_lab import __version__
from reasoning_lab.config import ConfigError
from reasoning_lab.plain_errors import plain_errors
from reasoning_lab.runs.folder import RunFolder

_ELSEWHERE = "hardware=NAME and hardware.* as for launch.py, to use another machine than before"


def main(arguments: list[str] | None = None) -> int:
    """Run one verb.

    The exit status is 2 for a mistake in what was asked for, 1 for a run that cannot go on or a
    reward that can be cheated, and 130 for Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    try:
        with plain_errors():
            status: int | None = options.verb(options)
    except SystemExit as exit:
        return int(exit.code or 0)
    return status or 0


def ask(options: argparse.Namespace) -> None:
    from reasoning_lab.stages import use

    use.ask(
        RunFolder.open(options.run),
        options.question,
        options.overrides,
        max_completion_length=options.max_completion_length,
        temperature=options.temperature,
        seed=options.seed,
    )


def evaluate(options: argparse.Namespace) -> None:
    from reasoning_lab.stages import use

    use.evaluate(RunFolder.open(options.run), options.overrides)


def data(options: argparse.Namespace) -> None:
    from reasoning_lab.experiment import compose
    from reasoning_lab.runs.files import write_atomically
    from reasoning_lab.stages import look_at_data
    from reasoning_lab.stages.data_page import data_page
    from reasoning_lab.stages.progress import make_console

    if options.count < 1:
        raise ConfigError("--count must be 1 or more.")
    if options.html is not None and not options.html.parent.is_dir():
        raise ConfigError(f"--html {options.html}: there is no folder {options.html.parent}.")
    console = make_console()
    look = look_at_data.look_at(compose(options.overrides, "on the command line"))
    match options.what:
        case "show":
            look_at_data.show(look, console, count=options.count)
        case "stats":
            console.print(look_at_data.stats_table(look))
        case "funnel":
            look_at_data.print_removed(look, console)
            console.print(look_at_data.funnel_table(look))
    console.print(look_at_data.in_a_sentence(look))
    if options.html is not None:
        title = " ".join(["Data of", *options.overrides]) if options.overrides else "Data"
        write_atomically(options.html, data_page(look, title=title))
        console.print(f"Page: {options.html}")


def resume(options: argparse.Namespace) -> None:
    from reasoning_lab.stages import recipe

    recipe.resume(RunFolder.open(options.run), options.overrides)


def compare(options: argparse.Namespace) -> None:
    from reasoning_lab.compare.compare import output_folder
    from reasoning_lab.compare.show import show_and_write
    from reasoning_lab.stages.progress import make_console

    show_and_write(
        options.paths,
        options.output or output_folder(options.paths, options.runs_dir),
        make_console(),
        runs_dir=options.runs_dir,
        metric_name=options.metric,
        lower_is_better=options.lower_is_better,
    )


def watch(options: argparse.Namespace) -> None:
    from reasoning_lab.stages.progress import make_console
    from reasoning_lab.sweeps.folder import SweepFolder
    from reasoning_lab.sweeps.view import watch

    watch(SweepFolder.open(options.sweep, options.runs_dir), make_console())


def dashboard(options: argparse.Namespace) -> None:
    from reasoning_lab.sweeps.folder import SweepFolder
    from reasoning_lab.tracking.dashboard import dashboard

    sweep = SweepFolder.open(options.sweep, options.runs_dir)
    spec = sweep.any_experiment().tracking
    axes = [key for key in sweep.read()["axes"] if key != "seed"]
    print(dashboard(axes, options.metric, spec.group or sweep.name, spec))


def lint_reward(options: argparse.Namespace) -> int:
    from rich.console import Console

    from reasoning_lab import experiment
    from reasoning_lab.rewards.lint import attack, table

    report = attack.lint(experiment.compose_rewards(options.overrides))
    table.show(report, Console())
    if options.json is not None:
        try:
            options.json.write_text(json.dumps(table.as_record(report), indent=2), "utf-8")
        except OSError as error:
            raise ConfigError(
                f"--json {options.json}: cannot be written ({error.strerror})."
            ) from error
    return 1 if report.wins else 0


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
    asking.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=_ELSEWHERE)
    asking.add_argument("--max-completion-length", type=int, default=512, help="tokens at most")
    asking.add_argument("--temperature", type=float, default=0.0, help="0 is greedy")
    asking.add_argument("--seed", type=int, default=0, help="for temperatures above 0")
    evaluating = add(evaluate, "evaluate the tuned model again, on any data")
    evaluating.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE",
        help="data=NAME, data.*, evaluation.* and hardware.* as for launch.py; without any: the "
        "run's own",
    )
    linting = verbs.add_parser(
        "lint-reward",
        help="try known cheats on rewards; exit status 1 if one of them wins",
        description="Try known cheats on rewards, against honest answers.",
    )
    linting.add_argument(
        "overrides",
        nargs="+",
        metavar="KEY=VALUE",
        help="reward=NAME and reward.* as for launch.py",
    )
    linting.add_argument("--json", type=Path, metavar="FILE", help="all numbers and completions")
    linting.set_defaults(verb=lint_reward)
    looking = verbs.add_parser(
        "data",
        help="look at what an experiment would train on",
        description="Read, filter and tokenise the data of an experiment, and show it: samples "
        "token by token (show), lengths by domain (stats), or what became of every row (funnel).",
    )
    looking.add_argument("what", choices=["show", "stats", "funnel"])
    looking.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="as for launch.py, as in data=mixed"
    )
    looking.add_argument("--count", type=int, default=5, help="samples to show")
    looking.add_argument("--html", type=Path, metavar="FILE", help="write a page with all of it")
    looking.set_defaults(verb=data)
    comparing = verbs.add_parser(
        "compare",
        help="compare the runs of a sweep, or any runs, and say which setting to use",
        description="Compare runs, finished or not: scores with intervals over seeds, what each "
        "axis of a sweep changes, what failed and why, which setting to use if the runs can tell, "
        "and what to run next. Reads folders only; needs no device.",
        epilog="Without --metric runs are ranked as the lab chooses models: by the trained "
        "model's answers to the final held-out problems, as the mean over domains of the share "
        "that is right or, where nothing decides, of the reward.",
    )
    comparing.add_argument(
        "paths",
        nargs="+",
        metavar="SWEEP|RUN",
        help="folder of a sweep or a run, folder that holds some, run id, or name of a sweep",
    )
    comparing.add_argument(
        "--metric",
        metavar="NAME",
        help="correct, well_formed, reward, truncated, or a name in metrics.jsonl (its last value)",
    )
    comparing.add_argument(
        "--lower-is-better",
        action="store_true",
        help="of a metric whose name does not say so, as loss does",
    )
    comparing.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="for the page, verdict.md and comparison.json (default: comparison in the sweep, or "
        "here if it is not of a single one)",
    )
    comparing.add_argument(
        "--runs-dir", default="runs", metavar="FOLDER", help="where run ids are looked for"
    )
    comparing.set_defaults(verb=compare)
    for verb, description in (
        (watch, "show what the runs of a sweep are doing, whoever makes them"),
        (
            dashboard,
            "save a W&B workspace that compares the runs of a sweep, and print its address",
        ),
    ):
        sub = verbs.add_parser(verb.__name__, help=description, description=description)
        sub.add_argument("sweep", metavar="SWEEP", help="folder of a sweep, or its name")
        sub.add_argument("--runs-dir", default="runs", help="where names of sweeps are looked for")
        if verb is dashboard:
            sub.add_argument("--metric", default="eval/score", help="what runs are judged by")
        sub.set_defaults(verb=verb)
    resuming = add(
        resume, "go on with an interrupted, failed or killed run from its newest checkpoint"
    )
    resuming.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=_ELSEWHERE)
    return parser


if __name__ == "__main__":
    sys.exit(main())

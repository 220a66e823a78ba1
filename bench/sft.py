"""Speed and memory of supervised fine-tuning: ours, stock Tunix and TRL on the same examples.

    python -m bench.sft
    python -m bench.sft --workloads short --rounds 1 --systems ours peers_tunix
    python -m bench.sft --markdown measured.md

Every measurement is a process of its own, so that its peak memory is its own, and the libraries
take turns, so that a busy minute of the machine hits them all.
"""

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench import report, worker
from bench.workloads import WORKLOADS, Workload
from reasoning_lab.engine import locate
from reasoning_lab.engine.tokenizer import Tokenizer

_REPOSITORY = Path(__file__).resolve().parents[1]
_ROUNDS = {"short": 3, "mixed": 2}  # what fits into a quarter of an hour on two cores
_TOLERANCE = 1e-2  # nats; float32 rounding is far below


def main() -> None:
    arguments = _parse()
    console = Console()
    if "peers_trl" in arguments.systems and importlib.util.find_spec("trl") is None:
        sys.exit("TRL is not installed. Install the peers: pip install -e '.[peers]'")
    folder = locate.model_folder(worker.MODEL)  # converts the weights before any clock runs
    tokenizer = Tokenizer.load(locate.tokenizer_file(worker.MODEL, folder))
    every = []
    for name in arguments.workloads:
        workload = WORKLOADS[name](tokenizer)
        rounds = arguments.rounds or _ROUNDS[name]
        results = _measure(workload, arguments.systems, rounds, console)
        every.append(results)
        console.print(report.terminal_table(results))
        difference = report.loss_disagreement(results)
        if difference > _TOLERANCE:
            sys.exit(f"First losses differ by {difference:.3g}: these are not the same work.")
    for results in every:
        if report.OURS in results:
            console.print(report.rate_line(results, report.machine_rate(every)))
    console.print(report.setting(every))
    if arguments.markdown:
        arguments.markdown.write_text(report.markdown(every), "utf-8")
        console.print(f"wrote {arguments.markdown}")


def _measure(
    workload: Workload, systems: Sequence[str], rounds: int, console: Console
) -> dict[str, report.Measured]:
    results: dict[str, list[worker.Result]] = {system: [] for system in systems}
    for number in range(1, rounds + 1):
        for system in systems:
            start = time.perf_counter()
            with console.status(f"{workload.name}, round {number} of {rounds}: {system}"):
                result = _run(system, workload)
            results[system].append(result)
            seconds = ", ".join(f"{s:.2f}" for s in result.seconds)
            console.print(
                f"{workload.name} {number}/{rounds} {report.LABELS[system]}: {seconds} s/step, "
                f"{result.peak_bytes / 1e9:.1f} GB ({time.perf_counter() - start:.0f} s in all)"
            )
    return {system: report.Measured(workload, done) for system, done in results.items()}


def _run(system: str, workload: Workload) -> worker.Result:
    with tempfile.TemporaryDirectory() as folder:
        task, result = Path(folder) / "workload.json", Path(folder) / "result.json"
        workload.save(task)
        process = subprocess.run(
            [sys.executable, "-m", f"bench.{system}", str(task), str(result)],
            cwd=_REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if process.returncode:
            sys.exit(f"{process.stdout[-4000:]}\nbench.{system} failed ({process.returncode}).")
        return worker.Result.load(result)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument(
        "--systems", nargs="+", choices=report.LABELS, default=list(report.LABELS), metavar="SYSTEM"
    )
    parser.add_argument("--rounds", type=int, help="of every workload; default: short 3, mixed 2")
    parser.add_argument("--markdown", type=Path, metavar="PATH", help="write the tables to a file")
    return parser.parse_args()


if __name__ == "__main__":
    main()

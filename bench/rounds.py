"""The command of every benchmark: measuring processes one after another, then a table.

Every measurement is a process of its own, so that its peak memory is its own, and the libraries
take turns, round by round, so that a busy minute of the machine hits them all.
"""

import argparse
import importlib.util
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from rich.console import Console

from bench import report, worker
from bench.report import Measured
from reasoning_lab.engine import locate
from reasoning_lab.engine.tokenizer import Tokenizer

_REPOSITORY = Path(__file__).resolve().parents[1]
_LOG_WIDTH = 120  # columns where there is no terminal; rich would take 80
_TOLERANCE = 1e-2  # nats; float32 rounding is far below


class Workload(Protocol):
    @property
    def name(self) -> str: ...

    def save(self, path: Path) -> None: ...


W = TypeVar("W", bound=Workload)
R = TypeVar("R", bound=worker.Result)


@dataclass(frozen=True, kw_only=True)
class Benchmark(Generic[W, R]):
    """bench.<stage>, whose measuring processes are the modules bench.<stage>_<system>."""

    stage: str
    workloads: Mapping[str, Callable[[Tokenizer], W]]
    rounds: Mapping[str, int]  # of each workload, unless the command line says otherwise
    result_type: type[R]
    table: Callable[[Mapping[str, Measured[W, R]]], report.Table]  # of one workload, by system
    limit_line: Callable[[Measured[W, R], Sequence[R]], str]  # of ours; all processes

    def main(self, description: str | None) -> None:
        """Args: description: what --help says."""
        arguments = self._parse(description)
        console = Console(width=None if sys.stdout.isatty() else _LOG_WIDTH)
        folder = locate.model_folder(worker.MODEL)  # converts the weights before any clock runs
        tokenizer = Tokenizer.load(locate.tokenizer_file(worker.MODEL, folder))
        every = []
        for name in arguments.workloads:
            results = self._measure(
                self.workloads[name](tokenizer),
                arguments.systems,
                arguments.rounds or self.rounds[name],
                console,
            )
            every.append(results)
            console.print(self.table(results).for_terminal())
            difference = report.loss_disagreement(results.values())
            if difference > _TOLERANCE:
                sys.exit(f"First losses differ by {difference:.3g}: these are not the same work.")
        processes = [
            result
            for results in every
            for measured in results.values()
            for result in measured.rounds
        ]
        parts = [report.setting(processes)]
        for results in every:
            parts.append(self.table(results).markdown())
            if report.OURS in results:
                parts.append(self.limit_line(results[report.OURS], processes))
                console.print(parts[-1])
        console.print(parts[0])
        if arguments.markdown:
            arguments.markdown.write_text("\n\n".join(parts) + "\n", "utf-8")
            console.print(f"wrote {arguments.markdown}")

    def _parse(self, description: str | None) -> argparse.Namespace:
        parser = argparse.ArgumentParser(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        choose: dict[str, Any] = {"nargs": "+"}
        workloads, systems = list(self.workloads), list(report.LABELS)
        parser.add_argument("--workloads", choices=workloads, default=workloads, **choose)
        parser.add_argument(
            "--systems", choices=systems, default=systems, metavar="SYSTEM", **choose
        )
        defaults = ", ".join(f"{name} {number}" for name, number in self.rounds.items())
        parser.add_argument("--rounds", type=int, help=f"of every workload; default: {defaults}")
        parser.add_argument("--markdown", type=Path, metavar="PATH", help="write the tables here")
        arguments = parser.parse_args()
        if "trl" in arguments.systems and importlib.util.find_spec("trl") is None:
            sys.exit("TRL is not installed. Install the peers: pip install -e '.[peers]'")
        return arguments

    def _measure(
        self, workload: W, systems: Sequence[str], rounds: int, console: Console
    ) -> dict[str, Measured[W, R]]:
        results: dict[str, list[R]] = {system: [] for system in systems}
        for number in range(1, rounds + 1):
            for system in systems:
                start, others = time.perf_counter(), _seconds_of_others()
                with console.status(f"{workload.name}, round {number} of {rounds}: {system}"):
                    result = self._run(system, workload)
                results[system].append(result)
                elapsed = time.perf_counter() - start
                others = (_seconds_of_others() - others) / (elapsed * (os.cpu_count() or 1))
                seconds = ", ".join(f"{s:.2f}" for s in result.seconds)
                console.print(
                    f"{workload.name} {number}/{rounds} {report.LABELS[system]}: {seconds} s/step, "
                    f"{result.peak_bytes / 1e9:.1f} GB ({elapsed:.0f} s in all, in which other "
                    f"programs took {others:.0%} of the processor)"
                )
        return {system: Measured(workload, done) for system, done in results.items()}

    def _run(self, system: str, workload: W) -> R:
        module = f"bench.{self.stage}_{system}"
        with tempfile.TemporaryDirectory() as folder:
            task, result = Path(folder) / "workload.json", Path(folder) / "result.json"
            workload.save(task)
            process = subprocess.run(
                [sys.executable, "-m", module, str(task), str(result)],
                cwd=_REPOSITORY,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            if process.returncode:
                sys.exit(f"{process.stdout[-4000:]}\n{module} failed ({process.returncode}).")
            return self.result_type.load(result)


def _seconds_of_others() -> float:
    """Processor seconds since the machine's start that neither we nor what we ran have taken."""
    first, *_ = Path("/proc/stat").read_text("utf-8").splitlines()
    user, nice, system, _idle, _iowait, *others = map(int, first.split()[1:9])
    busy = (user + nice + system + sum(others)) / os.sysconf("SC_CLK_TCK")
    ours = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return busy - sum(usage.ru_utime + usage.ru_stime for usage in ours)

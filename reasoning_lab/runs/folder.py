"""The folder of a run: its readable id, its files, and how to find it again."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from reasoning_lab.config import ConfigError
from reasoning_lab.runs.files import DiskFullError, naming_full_disk
from reasoning_lab.runs.status import StatusWriter, recording_status

_ID_PATTERN = re.compile(r"\d{8}-\d{6}-")
_LONGEST_ID = 100  # W&B and file systems take more, terminals and tables do not


@dataclass(frozen=True)
class RunFolder:
    """One run. The id is the folder's name: time of start (UTC), then what was run."""

    path: Path
    shared: Path | None = None
    """Where checkpoints are, which several hosts write together; None: in `path`."""

    @classmethod
    def create(cls, runs_dir: str | Path, *names: str) -> "RunFolder":
        """Claim a new folder such as runs/20261121-225501-sft-gemma3_270m-arithmetic.

        An existing folder is never taken: the second run of the same second and names gets -2.

        Raises:
            ConfigError: `runs_dir` cannot be made or written to.
        """
        label = "-".join(re.sub(r"[^\w.=+]+", "_", name, flags=re.ASCII) for name in names)
        stem = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{label}"[:_LONGEST_ID]
        for path in _candidates(Path(runs_dir).resolve(), stem):
            try:
                with naming_full_disk(path):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.mkdir()
            except FileExistsError:
                if path.parent.is_dir():
                    continue
                raise ConfigError(
                    f"runs_dir={runs_dir}: {path.parent} is a file, not a folder. "
                    "Choose another folder, such as runs_dir=runs."
                ) from None
            except OSError as error:
                raise ConfigError(
                    f"runs_dir={runs_dir}: no folder can be made in {path.parent} "
                    f"({error.strerror}). Choose one you may write to, such as runs_dir=runs."
                ) from error
            break
        return cls(path)

    @classmethod
    def at(cls, path: str | Path) -> "RunFolder":
        """The folder at that very path, made if it is missing; it may hold a run already.

        Raises:
            ConfigError: it cannot be made, or holds something else than a run.
        """
        folder = cls(Path(path).resolve())
        try:
            with naming_full_disk(folder.path):
                folder.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if isinstance(error, DiskFullError):
                raise
            raise ConfigError(
                f"run_dir={path}: cannot be made ({error.strerror}). Choose another folder."
            ) from error
        of_a_run = {folder.status_path.name, folder.output_path.name}
        others = [entry.name for entry in folder.path.iterdir() if entry.name not in of_a_run]
        if others and not folder.config_path.is_file():
            raise ConfigError(
                f"run_dir={path}: holds no run but {', '.join(sorted(others)[:3])}. "
                "Choose an empty or a new folder."
            )
        return folder

    @classmethod
    def open(cls, run: str | Path, runs_dir: str | Path = "runs") -> "RunFolder":
        """Find a run by the path of its folder, by its id in `runs_dir`, or as "latest" there.

        Raises:
            ConfigError: there is no such run; says which there are.
        """
        known = _runs_in(Path(runs_dir))
        if run == "latest" and known:
            return cls(known[-1])
        for path in (Path(run), Path(runs_dir) / run):
            folder = cls(path.resolve())
            if folder.config_path.is_file():
                return folder
        newest = "".join(f"\n  {path.name}" for path in known[-5:]) or " none"
        raise ConfigError(
            f"There is no run {str(run)!r}: neither that path nor {Path(runs_dir) / run} is a "
            f"folder with a config.yaml. Newest runs in {runs_dir}:{newest}"
        )

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def config_path(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def manifest_path(self) -> Path:
        return self.path / "manifest.json"

    @property
    def status_path(self) -> Path:
        return self.path / "status.json"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def samples_path(self) -> Path:
        return self.path / "samples.jsonl"

    @property
    def log_path(self) -> Path:
        return self.path / "log.txt"

    @property
    def output_path(self) -> Path:
        """What a run of a sweep would have said on the screen."""
        return self.path / "output.txt"

    @property
    def checkpoints_dir(self) -> Path:
        return (self.shared or self.path) / "checkpoints"

    @property
    def best_dir(self) -> Path:
        """The checkpoint that did best on held-out problems, for stages that choose one."""
        return (self.shared or self.path) / "best"

    @property
    def rollouts_path(self) -> Path:
        """Completions sampled in training, with their rewards."""
        return self.path / "rollouts.jsonl"

    @property
    def funnel_path(self) -> Path:
        """What became of the rows of data that were read, with examples of those removed."""
        return self.path / "funnel.json"

    @property
    def offending_path(self) -> Path:
        """The samples that a run stopped at."""
        return self.path / "offending.json"

    @property
    def report_path(self) -> Path:
        return self.path / "report.md"

    def picture_path(self, title: str) -> Path:
        """Where the picture of that title is, such as held_out_accuracy.svg."""
        return self.path / f"{re.sub(r'[^a-z0-9]+', '_', title.lower())}.svg"

    def status(self) -> AbstractContextManager[StatusWriter]:
        """Keep status.json while the block runs; see `recording_status`."""
        return recording_status(self.status_path)


def _candidates(runs_dir: Path, stem: str) -> Iterator[Path]:
    yield runs_dir / stem
    number = 2
    while True:
        yield runs_dir / f"{stem}-{number}"
        number += 1


def _runs_in(runs_dir: Path) -> list[Path]:
    """Folders of runs, oldest first; runs that began in the same second by their last change."""
    if not runs_dir.is_dir():
        return []
    runs = [
        path.resolve()
        for path in runs_dir.iterdir()
        if _ID_PATTERN.match(path.name) and (path / "config.yaml").is_file()
    ]
    return sorted(runs, key=lambda path: (path.name[:15], path.stat().st_mtime_ns))

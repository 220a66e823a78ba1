"""One run in W&B. Here wandb is imported, and only once a run is opened: it takes half a second.

A W&B run is told every step once, at its own number. When a run is resumed, it is told again what
metrics.jsonl knows up to the checkpoint: a server that has these steps already is not sent them
again, and an offline folder begun anew holds the whole curve.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, SupportsFloat

from reasoning_lab.config import ConfigError
from reasoning_lab.tracking import api_key
from reasoning_lab.tracking.environment import quiet_wandb
from reasoning_lab.tracking.flat_config import flat
from reasoning_lab.tracking.identity import identify, supersede
from reasoning_lab.tracking.specs import TrackingSpec

_log = logging.getLogger(__name__)

_SECONDS_TO_CONNECT = 30
_SECONDS_TO_UPLOAD_AT_END = 60

_NO_METRICS = ("step", "time")  # in a record of metrics.jsonl


class WandbTracker:
    """Sends records to one W&B run; what cannot be sent is lost there, and said once."""

    def __init__(self, run: Any, resume_step: int) -> None:
        self._run = run
        self._resume_step = resume_step
        self._trouble_said = False
        self._send(lambda: run.define_metric("step", hidden=True))
        self._send(lambda: run.define_metric("*", step_metric="step"))

    def log(self, step: int, metrics: Mapping[str, SupportsFloat]) -> None:
        self._log(step, lambda: _floats(metrics))

    def samples(self, step: int, rows: Sequence[Mapping[str, Any]], name: str = "samples") -> None:
        import wandb

        columns = list(rows[0])
        table = [[row[column] for column in columns] for row in rows]
        self._log(step, lambda: {name: wandb.Table(columns, data=table)})

    def replay(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Tell the run the steps that it stands on, as far as the server does not have them."""
        for record in history:
            if self._run.starting_step <= record["step"] <= self._resume_step:
                self.log(record["step"], {k: v for k, v in record.items() if k not in _NO_METRICS})

    def summary(self, values: Mapping[str, SupportsFloat]) -> None:
        self._send(lambda: self._run.summary.update(_floats(values)))

    def _log(self, step: int, values: Callable[[], dict[str, Any]]) -> None:
        """Add to the row of that step. wandb drops rows that the server has, which are the same."""
        row = step
        if step <= self._resume_step:  # a run that had only its end to do: nothing comes after it
            row = max(step, self._run.starting_step)
        self._send(lambda: self._run.log({"step": step, **values()}, step=row))

    def finish(self, exit_code: int) -> None:
        """End the run, waiting at most a minute for what is not uploaded yet."""

        def finish() -> None:
            folder = _folder_of(self._run)
            try:
                self._run.finish(exit_code=exit_code)
            except TimeoutError:
                _log.warning(
                    "W&B: the upload did not end; finish it with: wandb sync --include-online %s",
                    folder,
                )

        self._send(finish)

    def _send(self, send: Callable[[], object]) -> None:
        try:
            send()
        except Exception as trouble:  # whatever it is, training is worth more than its tracking
            if not self._trouble_said:
                _log.warning("W&B: records are being lost (%s); metrics.jsonl goes on.", trouble)
            self._trouble_said = True


def _floats(values: Mapping[str, SupportsFloat]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}


@contextmanager
def wandb_tracker(
    spec: TrackingSpec,
    run_dir: Path,
    config: Mapping[str, Any],
    *,
    job_type: str,
    runs_dir: Path,
    resume_step: int,
    history: Sequence[Mapping[str, Any]],
) -> Iterator[WandbTracker]:
    """A W&B run named after `run_dir`, finished with the block; arguments as in `open_tracker`."""
    data = str(runs_dir / "wandb" / "data")  # else tables are staged in the home folder
    with quiet_wandb(WANDB_DATA_DIR=data):
        run = _start(spec, run_dir, config, job_type, runs_dir)
        tracker = WandbTracker(run, resume_step)
        exit_code = 1
        try:
            tracker.replay(history)
            yield tracker
            exit_code = 0
        finally:
            tracker.finish(exit_code)


def _start(
    spec: TrackingSpec, run_dir: Path, config: Mapping[str, Any], job_type: str, runs_dir: Path
) -> Any:
    """The wandb run: online if that is wanted and works, otherwise offline; says which."""
    import wandb

    mode = _choose_mode(spec)
    identity = identify(run_dir)
    if mode != "disabled":
        supersede(runs_dir / "wandb", identity.id)
    options: dict[str, Any] = {
        "mode": mode,
        "id": identity.id,
        "resume": "allow" if identity.is_known and mode == "online" else None,
        "name": run_dir.name,
        "dir": str(runs_dir),
        "project": spec.project,
        "entity": spec.entity,
        "group": spec.group,
        "tags": spec.tags,
        "job_type": job_type,
        "config": {**flat(config), "stage": job_type, "run_id": run_dir.name},
        "reinit": "finish_previous",  # else the second job of a multirun logs into the first
        "settings": wandb.Settings(
            console="off",
            init_timeout=_SECONDS_TO_CONNECT,
            finish_timeout=_SECONDS_TO_UPLOAD_AT_END,
            finish_timeout_raises=True,
        ),
    }
    try:
        run = _init(options)
    except wandb.errors.UsageError as mistake:
        raise ConfigError(f"tracking: W&B does not accept this: {mistake}") from mistake
    except wandb.errors.CommError as trouble:
        reason = str(trouble).partition("\n")[0]
        _log.warning("W&B: the server cannot be used, recording offline: %s", reason)
        wandb.teardown()  # its process believes that the id is in use
        run = wandb.init(**{**options, "mode": "offline", "resume": None})
    if run.offline:
        _log.info("W&B: offline; upload with: wandb sync %s", _folder_of(run))
    else:
        _log.info("W&B: %s", run.url or mode)
    return run


def _init(options: Mapping[str, Any]) -> Any:
    import wandb

    try:
        return wandb.init(**options)
    except OSError:  # wandb's own process died while an earlier run of this process was on
        with suppress(OSError):  # it forgets that process all the same
            wandb.teardown()
        return wandb.init(**options)


def _folder_of(run: Any) -> str:
    """Where wandb keeps the run, relative to the working directory."""
    return os.path.relpath(Path(run.dir).parent)


def _choose_mode(spec: TrackingSpec) -> str:
    """The mode asked for, by `tracking.mode` or else WANDB_MODE, or else online if there is a key.

    Raises:
        ConfigError: online is wanted without a key, or the key is malformed.
    """
    wanted = os.environ.get("WANDB_MODE", "auto") if spec.mode == "auto" else spec.mode
    if wanted not in ("auto", "online"):
        return wanted
    there_is_a_key = api_key.is_there()
    if wanted == "online" and not there_is_a_key:
        raise ConfigError(
            "tracking.mode=online needs an API key, and there is none. "
            "Run `wandb login` or set WANDB_API_KEY, or choose tracking.mode=offline."
        )
    return "online" if there_is_a_key else "offline"

"""The only module that imports wandb, and only once a run is opened: it takes half a second."""

import logging
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, SupportsFloat

from reasoning_lab.config import ConfigError
from reasoning_lab.tracking.specs import TrackingSpec

_log = logging.getLogger(__name__)

_SECONDS_TO_CONNECT = 30
_SECONDS_TO_UPLOAD_AT_END = 60

# Quiet, and without wandb's own telemetry, which calls its server even from an offline run.
_QUIET = {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}


class WandbTracker:
    """Sends records to one W&B run; what cannot be sent is lost there, and said once."""

    def __init__(self, run: Any) -> None:
        self._run = run
        self._trouble_said = False
        self._send(lambda: run.define_metric("step", hidden=True))
        self._send(lambda: run.define_metric("*", step_metric="step"))

    def log(self, step: int, metrics: Mapping[str, SupportsFloat]) -> None:
        values = {name: float(value) for name, value in metrics.items()}
        self._send(lambda: self._run.log({"step": step, **values}))

    def samples(self, step: int, rows: Sequence[Mapping[str, Any]], name: str = "samples") -> None:
        import wandb

        columns = list(rows[0])
        table = [[row[column] for column in columns] for row in rows]
        self._send(lambda: self._run.log({"step": step, name: wandb.Table(columns, data=table)}))

    def summary(self, values: Mapping[str, SupportsFloat]) -> None:
        self._send(lambda: self._run.summary.update({k: float(v) for k, v in values.items()}))

    def finish(self, exit_code: int) -> None:
        """End the run, waiting at most a minute for what is not uploaded yet."""

        def finish() -> None:
            folder = _folder_of(self._run)
            try:
                self._run.finish(exit_code=exit_code)
            except TimeoutError:
                _log.warning("W&B: the upload did not end; finish it with: wandb sync %s", folder)

        self._send(finish)

    def _send(self, send: Callable[[], object]) -> None:
        try:
            send()
        except Exception as trouble:  # whatever it is, training is worth more than its tracking
            if not self._trouble_said:
                _log.warning("W&B: records are being lost (%s); metrics.jsonl goes on.", trouble)
            self._trouble_said = True


@contextmanager
def wandb_tracker(
    spec: TrackingSpec,
    run_dir: Path,
    config: Mapping[str, Any],
    *,
    job_type: str,
    resume_step: int | None,
) -> Iterator[WandbTracker]:
    """A W&B run named after `run_dir`, finished with the block; arguments as in `open_tracker`.

    All runs of one folder of runs share its wandb/ folder, so that `wandb leet` compares them.
    """
    data = str(run_dir.parent / "wandb" / "data")  # else tables are staged in the home folder
    with _default_environment({**_QUIET, "WANDB_DATA_DIR": data}):
        tracker = WandbTracker(_start(spec, run_dir, config, job_type, resume_step))
        exit_code = 1
        try:
            yield tracker
            exit_code = 0
        finally:
            tracker.finish(exit_code)


def _start(
    spec: TrackingSpec,
    run_dir: Path,
    config: Mapping[str, Any],
    job_type: str,
    resume_step: int | None,
) -> Any:
    """The wandb run: online if that is wanted and works, otherwise offline; says which."""
    import wandb

    # W&B cannot take back the steps after a restored checkpoint (its rewind is not for everyone),
    # so each resumption is a run of its own; `run_id` in its config tells where it belongs.
    name, suffix = run_dir.name, ""
    if resume_step is not None:
        name, suffix = f"{name} from step {resume_step}", f"-{resume_step}-{secrets.token_hex(2)}"
    options: dict[str, Any] = {
        "mode": _choose_mode(spec),
        "id": run_dir.name + suffix,
        "name": name,
        "dir": str(run_dir.parent),
        "project": spec.project,
        "entity": spec.entity,
        "group": spec.group,
        "tags": spec.tags,
        "job_type": job_type,
        "config": {**config, "run_id": run_dir.name},
        "reinit": "finish_previous",  # else the second job of a multirun logs into the first
        "settings": wandb.Settings(
            console="off",
            init_timeout=_SECONDS_TO_CONNECT,
            finish_timeout=_SECONDS_TO_UPLOAD_AT_END,
            finish_timeout_raises=True,
        ),
    }
    try:
        run = wandb.init(**options)
    except wandb.errors.UsageError as mistake:
        raise ConfigError(f"tracking: W&B does not accept this: {mistake}") from mistake
    except wandb.errors.CommError as trouble:
        reason = str(trouble).partition("\n")[0]
        _log.warning("W&B: the server cannot be used, recording offline: %s", reason)
        options["mode"] = "offline"
        options["id"] += "-offline"  # the first id stays taken in wandb's own process
        run = wandb.init(**options)
    if options["mode"] == "offline":
        _log.info("W&B: offline; upload with: wandb sync %s", _folder_of(run))
    else:
        _log.info("W&B: %s", run.url or options["mode"])
    return run


def _folder_of(run: Any) -> str:
    """Where wandb keeps the run, relative to the working directory."""
    return os.path.relpath(Path(run.dir).parent)


def _choose_mode(spec: TrackingSpec) -> str:
    """The mode asked for, by `tracking.mode` or else WANDB_MODE, or else online if there is a key.

    Raises:
        ConfigError: online is wanted without a key, or the key is malformed.
    """
    import wandb
    from wandb.sdk.lib import wbauth

    wanted = os.environ.get("WANDB_MODE", "auto") if spec.mode == "auto" else spec.mode
    if wanted not in ("auto", "online"):
        return wanted
    try:
        # wandb.login() would do, but it calls the server, and not at all if WANDB_MODE=offline.
        key = wbauth.authenticate_session(
            host=wandb.setup().settings.base_url,
            source="reasoning_lab",
            prompt=False,
            update_session=False,
        )
    except wandb.errors.AuthenticationError as mistake:
        raise ConfigError(f"The W&B API key found here is not one: {mistake}") from mistake
    if wanted == "online" and key is None:
        raise ConfigError(
            "tracking.mode=online needs an API key, and there is none. "
            "Run `wandb login` or set WANDB_API_KEY, or choose tracking.mode=offline."
        )
    return "offline" if key is None else "online"


@contextmanager
def _default_environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables that are not set yet, for the time of the block."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)

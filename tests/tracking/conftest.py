"""A clean environment for wandb, and a reader of the files it keeps offline."""

import contextlib
import gc
import json
import os
import signal
import subprocess
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_server import KEY, FakeServer

Read = Callable[[Path], list[Any]]

_BLOCK = 32 * 1024
_SECONDS_TO_END = 20


def forget_wandb() -> None:
    """End wandb's process and its memory of the environment.

    It is killed: with a server that died it would go on trying for days, and be waited for.
    """
    import wandb

    killing = threading.Timer(_SECONDS_TO_END, _kill_wandb)
    killing.start()
    with contextlib.suppress(OSError):  # of a process that was killed
        wandb.teardown()
    killing.cancel()
    _kill_wandb()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # wandb does not wait for its process
        gc.collect()


def _kill_wandb() -> None:
    children = ["pgrep", "-P", str(os.getpid()), "-f", "wandb-core"]
    for number in subprocess.run(children, capture_output=True, text=True).stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(number), signal.SIGKILL)


@pytest.fixture(autouse=True)
def wandb_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """No key, no settings, an empty home folder (the value), and a fresh wandb process."""
    forget_wandb()
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NETRC", str(home / ".netrc"))
    yield home
    forget_wandb()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    """A W&B server on loopback, which wandb is told to use."""
    server = FakeServer()
    server.start()
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    yield server
    server.stop()


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    path = tmp_path / "runs" / "20261121-225501-sft-gemma3_tiny"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def read_offline() -> Read:
    """Reads the records of the one offline run in a folder of runs."""

    def read(runs_dir: Path) -> list[Any]:
        [path] = runs_dir.glob("wandb/offline-run-*/*.wandb")
        for _ in range(200):  # wandb's own process writes the end of it a moment later
            records = parse_log(path.read_bytes())
            if any(record.HasField("exit") for record in records):
                return records
            time.sleep(0.05)
        pytest.fail(f"{path} has no end")

    return read


def parse_log(data: bytes) -> list[Any]:
    """Records of a LevelDB log.

    It is 7 bytes of header, then blocks of 32 KiB of chunks, each of checksum (4 bytes), length
    (2) and type (1: whole record, 2, 3, 4: its first, middle, last part).
    """
    from wandb.proto.wandb_internal_pb2 import Record

    assert data[:4] in (b":W&B", b"")
    records, partial, at = [], b"", 7
    while at + 7 <= len(data):
        if _BLOCK - at % _BLOCK < 7:  # what is left of a block cannot hold a chunk
            at += _BLOCK - at % _BLOCK
            continue
        length = int.from_bytes(data[at + 4 : at + 6], "little")
        kind = data[at + 6]
        if at + 7 + length > len(data):  # still being written
            break
        partial += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            record = Record()
            record.ParseFromString(partial)
            records.append(record)
            partial = b""
    return records


def history_of(records: list[Any]) -> list[dict[str, Any]]:
    """Rows of the run's history, without wandb's own keys."""
    rows = []
    for record in records:
        if record.HasField("history"):
            items = {
                item.key or ".".join(item.nested_key): json.loads(item.value_json)
                for item in record.history.item
            }
            rows.append({key: value for key, value in items.items() if not key.startswith("_")})
    return rows


@pytest.fixture
def offline_history(read_offline: Read) -> Read:
    return lambda runs_dir: history_of(read_offline(runs_dir))

"""Online runs, against a W&B server on loopback that takes what it is sent and keeps it."""

import gzip
import json
import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from reasoning_lab.tracking import weights_and_biases
from reasoning_lab.tracking.specs import TrackingSpec
from reasoning_lab.tracking.tracker import open_tracker

SPEC = TrackingSpec(wandb=True)


class FakeServer(ThreadingHTTPServer):
    """What one run sent: rows of history, names of uploaded files and how it ended."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.history: list[dict[str, Any]] = []
        self.uploads: list[str] = []
        self.queries: list[tuple[str, dict[str, Any]]] = []
        self.exit_code: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def stop(self) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # wandb drops its connections as it ends


def _answer(name: str, variables: dict[str, Any], url: str) -> dict[str, Any]:
    """The data of the answer to a GraphQL query or mutation."""
    if name == "UpsertBucket":
        entity = {"id": "e", "name": "me"}
        project = {"id": "p", "name": variables["project"], "entity": entity}
        names = dict.fromkeys(("id", "name", "displayName"), variables["name"])
        run = {**names, "config": "{}", "historyLineCount": 0, "project": project}
        return {"upsertBucket": {"bucket": run, "inserted": True}}
    if name == "CreateRunFiles":
        files = [{"name": file, "uploadUrl": f"{url}/{file}"} for file in variables["files"]]
        return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}
    if name == "ArtifactType":
        return {"project": {"artifact": {"artifactType": {"name": "run_table"}}}}
    if name == "CreateArtifact":  # "committed": the server has its files already
        sequence = {"latestArtifact": {"id": "a"}}
        artifact = {"id": "a", "state": "COMMITTED", "artifactSequence": sequence}
        return {"createArtifact": {"artifact": artifact}}
    if name == "Viewer":
        teams: dict[str, Any] = {"edges": []}
        return {"viewer": {"id": "v", "entity": "me", "flags": "{}", "teams": teams}}
    return {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeServer

    def do_POST(self) -> None:
        body = json.loads(self._body())
        if self.path == "/graphql":
            name = re.findall(r"(?:query|mutation)\s+(\w+)", body["query"])[0]
            variables = body.get("variables") or {}
            self.server.queries.append((name, variables))
            self._reply({"data": _answer(name, variables, self.server.url)})
            return
        chunk = body.get("files", {}).get("wandb-history.jsonl", {"content": []})
        self.server.history += map(json.loads, chunk["content"])
        if body.get("complete"):
            self.server.exit_code = body["exitcode"]
        self._reply({})

    def do_PUT(self) -> None:
        self._body()
        self.server.uploads.append(self.path)
        self._reply({})

    def do_GET(self) -> None:
        self._reply({})

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        return gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body

    def _reply(self, answer: dict[str, Any]) -> None:
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    server = FakeServer()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", server.url)
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    yield server
    server.stop()


def test_with_a_key_everything_reaches_the_server(
    run_dir: Path, server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="reasoning_lab")
    with open_tracker(SPEC, run_dir, {"seed": 7}, job_type="sft") as tracker:
        for step in (10, 20):
            tracker.log(step, {"train/loss": 1 / step})
        tracker.samples(20, [{"question": "1 + 1", "completion": "2"}])
        tracker.summary({"correct": 0.75})

    assert f"W&B: {server.url}/me/reasoning_lab/runs/{run_dir.name}" in caplog.messages
    assert [row["train/loss"] for row in server.history if "train/loss" in row] == [0.1, 0.05]
    assert [row["step"] for row in server.history] == [10, 20, 20]
    assert server.history[-1]["samples"]["nrows"] == 1
    assert any("media/table/samples" in path for path in server.uploads)
    assert server.exit_code == 0
    created = next(variables for name, variables in server.queries if name == "UpsertBucket")
    assert (created["name"], created["jobType"]) == (run_dir.name, "sft")


def test_a_server_that_dies_delays_the_end_by_the_time_allowed_and_no_more(
    run_dir: Path,
    server: FakeServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(weights_and_biases, "_SECONDS_TO_UPLOAD_AT_END", 1)
    started = time.monotonic()
    with open_tracker(SPEC, run_dir, {}, job_type="sft") as tracker:
        tracker.log(1, {"train/loss": 1.0})
        server.stop()
        for step in range(2, 1000):
            tracker.log(step, {"train/loss": 1.0})
    assert time.monotonic() - started < 10
    [kept] = run_dir.parent.glob("wandb/run-*")
    [trouble] = [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.WARNING and record.name.startswith("reasoning_lab")
    ]
    assert trouble.endswith(f"wandb sync {os.path.relpath(kept)}")

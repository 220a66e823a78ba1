"""A W&B server on loopback that takes what it is sent and keeps it, run by run.

It knows what wandb 0.31 and wandb-workspaces 0.4 ask: to make, resume and finish runs, to upload
tables, to sync folders, to save a workspace, and to hand the parameters of a sweep to an agent.
As on the real server, lines of history go where their sender says, so what is sent twice to the
same place is there once.
"""

import gzip
import json
import re
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

WANDB = Path(sys.executable).with_name("wandb")
KEY = "a" * 40  # any 40 characters will do as a key


@dataclass
class Run:
    """What the server has of one run."""

    created: dict[str, Any]  # what it was created with, the newest of each
    lines: list[str] = field(default_factory=list)  # of history
    summary: str = "{}"
    exit_code: int | None = None

    @property
    def history(self) -> list[dict[str, Any]]:
        """Its rows, without wandb's own keys."""
        rows = map(json.loads, self.lines)
        return [{key: row[key] for key in row if not key.startswith("_")} for row in rows]

    @property
    def config(self) -> dict[str, Any]:
        """Its config, without wandb's own keys."""
        items = json.loads(self.created["config"]).items()
        return {key: item["value"] for key, item in items if not key.startswith("_")}


class FakeServer(ThreadingHTTPServer):
    """Runs by their id, names of uploaded files, saved workspaces, and all that was asked."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.runs: dict[str, Run] = {}
        self.uploads: list[str] = []
        self.views: list[dict[str, Any]] = []
        self.queries: list[tuple[str, dict[str, Any]]] = []
        self.sweep = ""  # the YAML that `wandb sweep` sent
        self.commands: list[dict[str, Any]] = []  # what an agent is to do next
        self.refuses = False  # answers everything with "forbidden"
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def start(self) -> None:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # wandb drops its connections as it ends

    def answer(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """The data of the answer to a GraphQL query or mutation."""
        self.queries.append((name, given))
        match name:
            case "UpsertBucket":
                return self._upsert(given)
            case "RunResumeStatus":
                return self._resume_status(given["name"])
            case "CreateRunFiles":
                files = [{"name": f, "uploadUrl": f"{self.url}/{f}"} for f in given["files"]]
                return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}
            case "ArtifactType":
                return {"project": {"artifact": {"artifactType": {"name": "run_table"}}}}
            case "CreateArtifact":  # "committed": the server has its files already
                sequence = {"latestArtifact": {"id": "a"}}
                artifact = {"id": "a", "state": "COMMITTED", "artifactSequence": sequence}
                return {"createArtifact": {"artifact": artifact}}
            case "Viewer" | "GetDefaultEntity":
                teams: dict[str, Any] = {"edges": []}
                viewer = {"id": "v", "entity": "me", "username": "me", "flags": "{}"}
                return {"viewer": {**viewer, "teams": teams}}
            case "UpsertView2":
                self.views.append(given)
                view = {"id": "view", "name": given["name"]}
                return {"upsertView": {"view": view, "inserted": True}}
            case "UpsertSweep":
                self.sweep = given["config"]
                project = {"name": given["projectName"], "entity": {"name": "me"}}
                sweep = {"name": "s1", "project": project}
                return {"upsertSweep": {"sweep": sweep, "configValidationWarnings": []}}
            case "SweepWithRuns":
                sweep = {"name": "s1", "config": self.sweep, "runs": {"edges": []}}
                return {"project": {"sweep": sweep}}
            case "CreateAgent":
                return {"createAgent": {"agent": {"id": "agent"}}}
            case "Heartbeat":
                commands, self.commands = self.commands, []
                agent = {"agent": {"id": "agent"}, "commands": json.dumps(commands)}
                return {"agentHeartbeat": agent}
        return {}

    def _upsert(self, given: dict[str, Any]) -> dict[str, Any]:
        known = {key: value for key, value in given.items() if value is not None}
        inserted = known["name"] not in self.runs
        run = self.runs.setdefault(known["name"], Run({}))
        run.created |= known
        project = {"id": "p", "name": given["project"], "entity": {"id": "e", "name": "me"}}
        names = dict.fromkeys(("id", "name", "displayName"), known["name"])
        bucket = {**names, "config": "{}", "historyLineCount": len(run.lines), "project": project}
        return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}

    def _resume_status(self, name: str) -> dict[str, Any]:
        model = {"id": "p", "name": "p", "entity": {"id": "e", "name": "me"}, "bucket": None}
        if name in self.runs:
            run = self.runs[name]
            model["bucket"] = {
                **dict.fromkeys(("id", "name", "displayName"), name),
                "summaryMetrics": run.summary,
                "logLineCount": 0,
                "historyLineCount": len(run.lines),
                "eventsLineCount": 0,
                "historyTail": json.dumps(run.lines[-1:]),
                "eventsTail": "[]",
                "config": run.created["config"],
                "tags": run.created.get("tags", []),
                "notes": None,
                "wandbConfig": '{"t": 1}',
            }
        return {"model": model}

    def take(self, name: str, body: dict[str, Any]) -> None:
        """Keep what a run streams: lines of history from an offset on, summary, exit code."""
        run = self.runs[name]
        files = body.get("files", {})
        if chunk := files.get("wandb-history.jsonl"):
            offset = chunk["offset"]
            run.lines[offset : offset + len(chunk["content"])] = chunk["content"]
        if chunk := files.get("wandb-summary.json"):
            run.summary = chunk["content"][-1]
        if body.get("complete"):
            run.exit_code = body["exitcode"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeServer

    def do_POST(self) -> None:
        body = json.loads(self._body())
        if self.server.refuses:
            self._reply({"error": "forbidden"}, status=403)
        elif self.path == "/graphql":
            name = re.findall(r"(?:query|mutation)\s+(\w+)", body["query"])[0]
            with self.server.lock:
                data = self.server.answer(name, body.get("variables") or {})
            self._reply({"data": data})
        else:  # /files/ENTITY/PROJECT/RUN/file_stream
            with self.server.lock:
                self.server.take(self.path.split("/")[-2], body)
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

    def _reply(self, answer: dict[str, Any], status: int = 200) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def wandb_command(folder: Path, *arguments: str) -> str:
    """What `wandb sync ...` or another command says in a folder."""
    command = [str(WANDB), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr

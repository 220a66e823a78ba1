"""Downloading from the Hugging Face hub: a real client against a server on loopback."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

COMMIT = "c0ffee" + 34 * "0"
FILES = {
    "model.safetensors": 300 * b"weights",
    "tokenizer.model": 30 * b"pieces",
    "pytorch_model.bin": b"the same again, not wanted",
}
_CLIENT = """
import json, sys
from reasoning_lab.config import ConfigError
from reasoning_lab.engine.locate import model_folder
from reasoning_lab.engine.specs import ModelSpec

results = []
for location, revision in json.loads(sys.argv[1]):
    spec = ModelSpec(
        architecture="gemma3_tiny", weights="safetensors", location=location, revision=revision
    )
    try:
        results.append(["found", str(model_folder(spec))])
    except Exception as error:
        results.append([type(error).__name__, str(error)])
assert "jax" not in sys.modules
print(json.dumps(results))
"""


class Hub(BaseHTTPRequestHandler):
    """Repositories: owner/tiny, owner/gated, and owner/cut, whose downloads break off."""

    requested: list[str]

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def log_message(self, *_: Any) -> None: ...

    def answer(self) -> None:
        self.server.requested.append(self.path)  # type: ignore[attr-defined]
        parts = self.path.split("?")[0].strip("/").split("/")
        match parts:
            case ["api", "models", "owner", "tiny" | "gated" | "cut" as name, *rest]:
                self.describe(name, rest)
            case ["owner", "gated", "resolve", *_]:
                self.reply(401, b"", {"X-Error-Code": "GatedRepo"})
            case ["owner", name, "resolve", _, file]:
                tag = sha256(FILES[file]).hexdigest()
                headers = {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT}
                self.reply(200, FILES[file], headers, cut=name == "cut")
            case ["api", "models", *_]:
                self.reply(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            case _:
                self.reply(404, b"{}")

    def describe(self, name: str, rest: list[str]) -> None:
        if rest[0] == "tree":
            files = [
                {"type": "file", "path": path, "size": len(data), "oid": sha256(data).hexdigest()}
                for path, data in FILES.items()
            ]
            self.reply(200, json.dumps(files).encode())
        elif rest[1] in ("main", COMMIT):
            siblings = [{"rfilename": path} for path in FILES]
            info = {"id": f"owner/{name}", "sha": COMMIT, "siblings": siblings}
            self.reply(200, json.dumps(info).encode())
        else:
            self.reply(404, b"{}", {"X-Error-Code": "RevisionNotFound"})

    def reply(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, *, cut: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = True


@pytest.fixture
def hub() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.requested = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def locate(
    *locations: str, port: int, home: Path, revision: str | None = None, **environment: str
) -> list[list[str]]:
    """Ask for models in a fresh process, as the endpoint is read on import."""
    done = subprocess.run(
        [sys.executable, "-c", _CLIENT, json.dumps([[x, revision] for x in locations])],
        env={
            **{name: x for name, x in os.environ.items() if not name.startswith("HF_")},
            "HF_ENDPOINT": f"http://127.0.0.1:{port}",
            "HF_HOME": str(home),
            "HF_HUB_DOWNLOAD_TIMEOUT": "5",
            "NO_PROXY": "127.0.0.1",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    results: list[list[str]] = json.loads(done.stdout)
    return results


def test_the_hub(hub: ThreadingHTTPServer, tmp_path: Path) -> None:
    port = hub.server_address[1]
    found, missing, gated, invalid = locate(
        *("hf:owner/tiny", "hf:owner/missing", "hf:owner/gated", "hf:google/gemma/3"),
        port=port,
        home=tmp_path,
    )
    assert found[0] == "found"
    files = {file.name: file.read_bytes() for file in Path(found[1]).iterdir()}
    assert files == {name: FILES[name] for name in ("model.safetensors", "tokenizer.model")}

    assert missing[0] == gated[0] == invalid[0] == "ConfigError"
    assert missing[1].startswith("model.location=hf:owner/missing: no such model, or your token")
    assert "asks you to accept its licence" in gated[1]
    assert "https://huggingface.co/owner/gated" in gated[1]
    assert "hf auth login" in gated[1]
    assert "not a hub id like google/gemma-3-1b-it" in invalid[1]

    [[kind, text]] = locate("hf:owner/tiny", port=port, home=tmp_path, revision="v9")
    assert (kind, text) == (
        "ConfigError",
        "model.location=hf:owner/tiny: no revision 'v9' (model.revision).",
    )


def test_without_network_the_cache_is_enough_and_nothing_else_is(
    hub: ThreadingHTTPServer, tmp_path: Path
) -> None:
    online = locate("hf:owner/tiny", port=hub.server_address[1], home=tmp_path)
    hub.shutdown()
    dead = 9  # the discard service, which nobody runs
    offline = locate("hf:owner/tiny", "hf:owner/other", port=dead, home=tmp_path)
    assert offline[0] == online[0]
    kind, text = offline[1]
    assert kind == "ConfigError"
    assert "the hub cannot be reached and the model is not in the local cache" in text
    assert "model.location=/path/to/folder" in text


def test_a_download_that_breaks_off_is_an_error_not_a_model(
    hub: ThreadingHTTPServer, tmp_path: Path
) -> None:
    [[kind, text]] = locate("hf:owner/cut", port=hub.server_address[1], home=tmp_path)
    assert kind == "ConfigError", text
    assert "model.location=hf:owner/cut: " in text


def test_a_dead_proxy_is_said(tmp_path: Path) -> None:
    proxy = {"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}
    [[kind, text]] = locate("hf:owner/tiny", port=80, home=tmp_path, **proxy)
    assert kind == "ConfigError", text
    assert "cannot be reached" in text

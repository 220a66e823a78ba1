"""A small Hugging Face hub on loopback: data sets of any columns, byte ranges, and refusals."""

import io
import json
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

COMMIT = "c0ffee" + 34 * "0"
Rows = Sequence[Mapping[str, Any]]


def parquet(rows: Rows, group: int = 1000) -> bytes:
    import pyarrow
    from pyarrow import parquet as writer

    file = io.BytesIO()
    table = pyarrow.Table.from_pylist(list(rows))
    writer.write_table(table, file, row_group_size=group, compression="none")
    return file.getvalue()


def jsonl(rows: Rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


class Hub(ThreadingHTTPServer):
    """`repos` maps owner/name to files; owner/gated and owner/forbidden refuse to give theirs.

    `converted` holds what stands at refs/convert/parquet. `sent` counts bytes of files.
    """

    repos: dict[str, dict[str, bytes]]
    converted: dict[str, dict[str, bytes]]
    sent: int
    requested: list[str]


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._answer()

    def log_message(self, *_: Any) -> None: ...

    def _answer(self) -> None:
        path = unquote(self.path.split("?")[0])
        self.server.requested.append(f"{self.command} {path}")
        found = re.fullmatch(
            r"(?P<api>/api)?/datasets/(?P<repo>[^/]+/[^/]+)(?:/(?P<verb>\w[\w-]*)/(?P<rest>.*))?",
            path,
        )
        if found is None:
            return self._reply(404, b"{}")
        repo = found["repo"]
        if repo == "owner/gated":
            error = {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"}
            if found["api"] and found["verb"] in (None, "revision"):
                return self._json({"id": repo, "sha": COMMIT, "gated": "manual", "siblings": []})
            return self._reply(401, b"{}", error)
        if repo == "owner/forbidden":
            return self._reply(403, b"{}")
        if repo not in self.server.repos:
            return self._reply(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        rest = found["rest"] or "main"
        revision = "refs/convert/parquet" if rest.startswith("refs/") else rest.split("/")[0]
        inside = rest.removeprefix(revision).strip("/")
        files = self._files(repo, revision)
        if files is None:
            return self._reply(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        match found["verb"]:
            case None | "revision":
                siblings = [{"rfilename": name} for name in files]
                sha = _CONVERTED if files is self.server.converted.get(repo) else COMMIT
                return self._json({"id": repo, "sha": sha, "siblings": siblings})
            case "tree":
                return self._json(_tree(files, inside))
            case "paths-info":
                wanted = json.loads(self._asked)["paths"] if self._asked.startswith("{") else []
                wanted = wanted or re.findall(r"paths=([^&]+)", unquote(self._asked))
                return self._json([one for path in wanted for one in _entry(files, path)])
            case "resolve" if inside in files:
                return self._send(files[inside])
        return self._reply(404, b"{}", {"X-Error-Code": "EntryNotFound"})

    def _files(self, repo: str, revision: str) -> dict[str, bytes] | None:
        if revision in ("refs/convert/parquet", _CONVERTED):
            return self.server.converted.get(repo)
        return self.server.repos[repo] if revision in ("main", COMMIT) else None

    def _send(self, content: bytes) -> None:
        headers = {"ETag": f'"{sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            return self._reply(200, content, headers, counted=True)
        start, stop = int(asked[1]), int(asked[2] or len(content) - 1)
        headers["Content-Range"] = f"bytes {start}-{stop}/{len(content)}"
        return self._reply(206, content[start : stop + 1], headers, counted=True)

    def _json(self, value: Any) -> None:
        self._reply(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _reply(
        self,
        status: int,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        counted: bool = False,
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            self.server.sent += len(body) * counted
        self.close_connection = True


_CONVERTED = "dec0de" + 34 * "0"


def _entry(files: Mapping[str, bytes], path: str) -> list[dict[str, Any]]:
    if path in files:
        oid = sha256(files[path]).hexdigest()[:40]
        return [{"type": "file", "path": path, "size": len(files[path]), "oid": oid}]
    if any(name.startswith(f"{path}/") for name in files):
        return [{"type": "directory", "path": path, "oid": 40 * "0"}]
    return []


def _tree(files: Mapping[str, bytes], inside: str) -> list[dict[str, Any]]:
    under = [name for name in files if name.startswith(f"{inside}/".lstrip("/"))]
    folders = {name.rpartition("/")[0] for name in under} - {"", inside}
    return [one for path in [*sorted(folders), *under] for one in _entry(files, path)]


@contextmanager
def serving(
    repos: dict[str, dict[str, bytes]], converted: dict[str, dict[str, bytes]] | None = None
) -> Iterator[Hub]:
    with Hub(("127.0.0.1", 0), _Handler) as server:
        server.repos, server.converted = repos, converted or {}
        server.sent, server.requested = 0, []
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()

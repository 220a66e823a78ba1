"""Our weights as others publish them: under the names and in the shapes of their checkpoints."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import orbax.checkpoint as ocp

from reasoning_lab.engine.architecture import Architecture

Tensors = dict[str, Any]

# The token table of gemma3_tiny as a GGUF holds it.
_CONTROL, _NORMAL, _BYTE = 3, 1, 6
PIECES = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>", "\u2581"]
PIECES += [f"<0x{value:02X}>" for value in range(256)]
KINDS = [*[_CONTROL] * 6, _NORMAL, *[_BYTE] * 256]


def hugging_face(arch: Architecture, base: dict[str, Any]) -> Tensors:
    """As on the Hugging Face hub."""
    tensors = {
        "model.embed_tokens.weight": base["embedding"],
        "model.norm.weight": base["final_norm"],
    }
    norms = {"pre_attention_norm": "input_layernorm", "pre_ffw_norm": "post_attention_layernorm"}
    if arch.post_norms:
        norms |= {
            "post_attention_norm": "post_attention_layernorm",
            "pre_ffw_norm": "pre_feedforward_layernorm",
            "post_ffw_norm": "post_feedforward_layernorm",
        }
    if arch.query_key_norm:
        norms |= {"q_norm": "self_attn.q_norm", "k_norm": "self_attn.k_norm"}
    for i, layer in enumerate(base["layers"]):
        parts = {theirs: layer[ours] for ours, theirs in norms.items()}
        key, value = jnp.moveaxis(layer["kv_proj"], 1, 0)
        for name, weight in (("q", layer["q_proj"]), ("k", key), ("v", value)):
            parts[f"self_attn.{name}_proj"] = weight.reshape(arch.embed_dim, -1).T
        parts["self_attn.o_proj"] = layer["o_proj"].reshape(-1, arch.embed_dim).T
        parts |= {f"mlp.{name}_proj": layer[f"{name}_proj"].T for name in ("gate", "up", "down")}
        tensors |= {f"model.layers.{i}.{name}.weight": x for name, x in parts.items()}
    return tensors


def kaggle(arch: Architecture, base: dict[str, Any]) -> dict[str, Tensors]:
    """As in the Flax checkpoints on Kaggle; Gemma 3 has its gating transposed."""
    modules = {
        "embedder": {"input_embedding": base["embedding"]},
        "final_norm": {"scale": base["final_norm"]},
    }
    names = {"q_norm": "attn/_query_norm", "k_norm": "attn/_key_norm"}
    for i, layer in enumerate(base["layers"]):
        gating = jnp.stack([layer["gate_proj"], layer["up_proj"]])
        parts = {
            "attn/q_einsum": {"w": jnp.moveaxis(layer["q_proj"], 1, 0)},
            "attn/kv_einsum": {"w": jnp.moveaxis(layer["kv_proj"], 0, 2)},
            "attn/attn_vec_einsum": {"w": layer["o_proj"]},
            "mlp/gating_einsum": {"w": gating.mT if arch.query_key_norm else gating},
            "mlp/linear": {"w": layer["down_proj"]},
        }
        parts |= {names.get(name, name): {"scale": x} for name, x in layer.items() if x.ndim == 1}
        modules |= {f"layer_{i}/{name}": x for name, x in parts.items()}
    return {f"transformer/{name}": x for name, x in modules.items()}


def save_orbax(folder: Path, tree: dict[str, Any]) -> None:
    checkpointer = ocp.StandardCheckpointer()
    checkpointer.save(folder, tree)
    checkpointer.wait_until_finished()

"""LoRA (arXiv 2106.09685): weights, initialisation, and the layout in which Tunix stores them.

Two views of the same arrays. The pure functions read `LoraLayers`, a list of {projection: {"a",
"b"}}. Checkpoints, Tunix's trainer and the competition's loader read an nnx module whose LoRAParam
paths are those that qwix gives Tunix's own Gemma models: layers.0.attn.q_einsum.w_lora_a and so on.
`LoraModel` is that module with the LoRA weights alone: the frozen base stays outside, so nothing
copies, saves or donates it.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from reasoning_lab.engine.architecture import Architecture
from reasoning_lab.engine.specs import LoraSpec

Array = jax.Array
Params = Mapping[str, Any]
"""A pytree of float32 arrays, {"layers": {0: {"attn": {"q_einsum": {"w_lora_a": ..., "w_lora_b":
...}}}}}."""

TUNIX_PATHS = {
    "q_proj": ("attn", "q_einsum", "w"),
    "kv_proj": ("attn", "kv_einsum", "w"),
    "o_proj": ("attn", "attn_vec_einsum", "w"),
    "gate_proj": ("mlp", "gate_proj", "kernel"),
    "up_proj": ("mlp", "up_proj", "kernel"),
    "down_proj": ("mlp", "down_proj", "kernel"),
}
"""Projection -> (block, module, parameter) in Tunix's Gemma models, which fuse keys and values."""


def projection_shapes(arch: Architecture) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """(input axes, output axes) of each projection that LoRA can adapt."""
    D, F, N, K, H = (
        arch.embed_dim,
        arch.hidden_dim,
        arch.num_heads,
        arch.num_kv_heads,
        arch.head_dim,
    )
    return {
        "q_proj": ((D,), (N, H)),
        "kv_proj": ((D,), (2, K, H)),
        "o_proj": ((N, H), (D,)),
        "gate_proj": ((D,), (F,)),
        "up_proj": ((D,), (F,)),
        "down_proj": ((F,), (D,)),
    }


def init_params(arch: Architecture, spec: LoraSpec, seed: int) -> Params:
    """Fresh LoRA weights, float32 whatever the base is, nested along Tunix's paths.

    A is He-uniform over its inputs and B is zero, as in qwix, so the model starts unchanged.
    """
    layers: dict[int, Any] = {}
    for layer in range(arch.num_layers):
        layers[layer] = {}
        for index, (name, (inputs, outputs)) in enumerate(
            _adapted(arch, spec.target_modules).items()
        ):
            block, module, parameter = TUNIX_PATHS[name]
            key = jax.random.fold_in(jax.random.key(seed), layer * len(TUNIX_PATHS) + index)
            bound = (6 / _size(inputs)) ** 0.5
            a = jax.random.uniform(key, (*inputs, spec.rank), jnp.float32, -bound, bound)
            b = jnp.zeros((spec.rank, *outputs), jnp.float32)
            layers[layer].setdefault(block, {})[module] = {
                f"{parameter}_lora_a": a,
                f"{parameter}_lora_b": b,
            }
    return {"layers": layers}


def as_layers(params: Params, target_modules: tuple[str, ...]) -> list[dict[str, dict[str, Array]]]:
    """The transformer's view of nested LoRA weights.

    Tunix fuses keys and values, so adapting only one of the two means holding the other half of B
    at zero.
    """
    halves = jnp.array([name in target_modules for name in ("k_proj", "v_proj")], jnp.float32)
    layers = []
    for _, layer in sorted(params["layers"].items()):
        adapter = {}
        for name, (block, module, parameter) in TUNIX_PATHS.items():
            weights = layer.get(block, {}).get(module)
            if weights is None:
                continue
            a, b = weights[f"{parameter}_lora_a"], weights[f"{parameter}_lora_b"]
            adapter[name] = {"a": a, "b": b * halves[:, None, None] if name == "kv_proj" else b}
        layers.append(adapter)
    return layers


class LoraModel(nnx.Module):
    """LoRA weights as the nnx module that Tunix's PeftTrainer updates and checkpoints."""

    def __init__(self, params: Params) -> None:
        self.layers = nnx.List(_LoraNode(layer) for _, layer in sorted(params["layers"].items()))

    @property
    def params(self) -> Params:
        params: Params = nnx.as_pure(nnx.state(self, nnx.LoRAParam))
        return params


class _LoraNode(nnx.Module):
    def __init__(self, tree: Mapping[str, Any]) -> None:
        for name, value in tree.items():
            is_leaf = isinstance(value, jax.Array)
            setattr(self, name, nnx.LoRAParam(value) if is_leaf else _LoraNode(value))


def _adapted(
    arch: Architecture, target_modules: tuple[str, ...]
) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    fused = {"kv_proj" if name in ("k_proj", "v_proj") else name for name in target_modules}
    return {name: axes for name, axes in projection_shapes(arch).items() if name in fused}


def _size(axes: tuple[int, ...]) -> int:
    size = 1
    for axis in axes:
        size *= axis
    return size

"""The Gemma decoder as pure functions of (base weights, LoRA weights, tokens).

Tunix's model classes hold weights in nnx modules, take no segment ids, always compute
full-vocabulary logits, and store projections in an order that XLA:CPU multiplies slowly. These
functions compute the same numbers (tests/engine/test_transformer.py compares them with Tunix's own
Gemma and Gemma3 to float32 rounding) and can be jitted once, vmapped over adapters, and
differentiated in the LoRA alone.

Weights are nested dicts of arrays. `base` holds `embedding` [V, D], `final_norm` [D] and `layers`,
a list of

    q_proj [D, N, H]   kv_proj [D, 2, K, H]   o_proj [N, H, D]
    gate_proj, up_proj [D, F]   down_proj [F, D]
    pre_attention_norm, pre_ffw_norm [D], and where the model has them
    post_attention_norm, post_ffw_norm [D], q_norm, k_norm [H]

RMSNorm multiplies by 1 + weight. `lora` is a list with one dict per layer,
{projection: {"a": [..in, R], "b": [R, ..out]}}; see engine/lora.py.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from reasoning_lab.engine.architecture import Architecture

Array = jax.Array
Layer = Mapping[str, Any]
Base = Mapping[str, Any]
LoraLayers = Sequence[Mapping[str, Mapping[str, Array]]]
KVCache = list[dict[str, Array]]
"""One {"k", "v"} pair of [B, S, K, H] per layer."""

_MASKED = -1e30  # not -inf: a row without any visible key must give numbers, not NaN


def embed(base: Base, tokens: Array) -> Array:
    """Token ids [B, T] -> embeddings [B, T, D], scaled by sqrt(D) in the embedding's own dtype."""
    x: Array = base["embedding"][tokens]
    return x * jnp.sqrt(x.shape[-1]).astype(x.dtype)


def hidden_states(
    arch: Architecture,
    base: Base,
    lora: LoraLayers | None,
    lora_scale: Array | float,
    tokens: Array,
    positions: Array,
    segment_ids: Array,
    *,
    remat: bool = False,
) -> Array:
    """Final normalised hidden states [B, T, D] of packed rows.

    Args:
        tokens: int32 [B, T].
        positions: int32 [B, T], restarting at 0 with every segment.
        segment_ids: int32 [B, T]; a token attends only within its own segment. 0 marks padding.
        lora_scale: alpha / rank.
        remat: recompute each layer in the backward pass instead of keeping its activations.
    """
    index = jnp.arange(tokens.shape[1])
    visible = segment_ids[:, :, None] == segment_ids[:, None, :]
    visible &= index[:, None] >= index[None, :]
    masks = _attention_masks(arch, visible, positions, positions)
    ropes = _rope_tables(arch, positions)

    def layer_fn(x: Array, weights: Layer, adapter: Mapping[str, Any], kind: str) -> Array:
        x, _ = _layer(arch, weights, adapter, lora_scale, x, ropes[kind], masks[kind], None)
        return x

    if remat:
        layer_fn = jax.checkpoint(layer_fn, static_argnums=3)
    x = embed(base, tokens)
    for i, weights in enumerate(base["layers"]):
        x = layer_fn(x, weights, lora[i] if lora else {}, arch.attention_kind(i))
    return _rms_norm(x, base["final_norm"])


def hidden_states_with_cache(
    arch: Architecture,
    base: Base,
    lora: LoraLayers | None,
    lora_scale: Array | float,
    tokens: Array,
    positions: Array,
    cache: KVCache,
    cache_positions: Array,
    cache_valid: Array,
    write_index: Array | int,
) -> tuple[Array, KVCache]:
    """Hidden states [B, T, D] of new tokens, which see the cache and, causally, each other.

    Args:
        tokens, positions: int32 [B, T].
        cache: per layer k and v [B, S, K, H]; new keys go to the T slots from write_index on.
        cache_positions: int32 [B, S], the position held (or about to be held) by each slot.
        cache_valid: bool [B, S], slots that hold a token once the new ones are written.
    """
    visible = cache_valid[:, None, :] & (positions[:, :, None] >= cache_positions[:, None, :])
    masks = _attention_masks(arch, visible, positions, cache_positions)
    ropes = _rope_tables(arch, positions)
    x = embed(base, tokens)
    new_cache: KVCache = []
    for i, weights in enumerate(base["layers"]):
        kind = arch.attention_kind(i)
        adapter = lora[i] if lora else {}
        slot = (cache[i], write_index)
        x, updated = _layer(arch, weights, adapter, lora_scale, x, ropes[kind], masks[kind], slot)
        assert updated is not None
        new_cache.append(updated)
    return _rms_norm(x, base["final_norm"]), new_cache


def init_cache(arch: Architecture, batch: int, slots: int, dtype: jnp.dtype) -> KVCache:
    shape = (batch, slots, arch.num_kv_heads, arch.head_dim)
    return [
        {"k": jnp.zeros(shape, dtype), "v": jnp.zeros(shape, dtype)} for _ in range(arch.num_layers)
    ]


def logits(arch: Architecture, base: Base, hidden: Array) -> Array:
    """Full-vocabulary logits: hidden [M, D] -> float32 [V, M].

    The vocabulary leads because XLA:CPU multiplies embedding [V, D] by hidden^T almost twice as
    fast as hidden by embedding^T; other back-ends do not mind.
    """
    raw = jnp.einsum("vd,md->vm", base["embedding"], hidden, preferred_element_type=jnp.float32)
    return softcap(raw, arch.final_softcap)


def softcap(x: Array, cap: float | None) -> Array:
    """cap * tanh(x / cap), Gemma 2's bound on logits; the identity where cap is None."""
    return x if cap is None else cap * jnp.tanh(x / cap)


def _layer(
    arch: Architecture,
    weights: Layer,
    adapter: Mapping[str, Mapping[str, Array]],
    lora_scale: Array | float,
    x: Array,
    rope: tuple[Array, Array],
    mask: Array,
    slot: tuple[dict[str, Array], Array | int] | None,
) -> tuple[Array, dict[str, Array] | None]:
    def project(name: str, x: Array, contracted: int = 1) -> Array:
        y = jnp.tensordot(x, weights[name], contracted)
        if name in adapter:
            a, b = (adapter[name][part].astype(x.dtype) for part in ("a", "b"))
            low_rank = jnp.tensordot(x, a, contracted) * jnp.asarray(lora_scale, x.dtype)
            y += _expand(low_rank, b)
        return y

    y = _rms_norm(x, weights["pre_attention_norm"])
    query = project("q_proj", y)
    key, value = jnp.moveaxis(project("kv_proj", y), 2, 0)
    if arch.query_key_norm:
        query = _rms_norm(query, weights["q_norm"])
        key = _rms_norm(key, weights["k_norm"])
    query = _rotate(query, rope) * jnp.asarray(arch.head_dim**-0.5, query.dtype)
    key = _rotate(key, rope)
    updated = None
    if slot is not None:
        cache, index = slot
        start = (0, index, 0, 0)
        key = jax.lax.dynamic_update_slice(cache["k"], key.astype(cache["k"].dtype), start)
        value = jax.lax.dynamic_update_slice(cache["v"], value.astype(cache["v"].dtype), start)
        updated = {"k": key, "v": value}
    y = project("o_proj", _attend(arch, query, key, value, mask), contracted=2)
    if arch.post_norms:
        y = _rms_norm(y, weights["post_attention_norm"])
    x = x + y

    y = _rms_norm(x, weights["pre_ffw_norm"])
    y = jax.nn.gelu(project("gate_proj", y), approximate=True) * project("up_proj", y)
    y = project("down_proj", y)
    if arch.post_norms:
        y = _rms_norm(y, weights["post_ffw_norm"])
    return x + y, updated


def _attend(arch: Architecture, query: Array, key: Array, value: Array, mask: Array) -> Array:
    """Grouped-query attention: query [B, T, N, H], key, value [B, S, K, H] -> [B, T, N, H]."""
    B, T, N, H = query.shape
    grouped = query.reshape(B, T, key.shape[2], N // key.shape[2], H)
    scores = jnp.einsum("btkgh,bskh->bkgts", grouped, key, preferred_element_type=jnp.float32)
    scores = softcap(scores, arch.attention_softcap)
    probabilities = jax.nn.softmax(jnp.where(mask[:, None, None], scores, _MASKED), axis=-1)
    out = jnp.einsum("bkgts,bskh->btkgh", probabilities.astype(value.dtype), value)
    return out.reshape(B, T, N, H)


def _attention_masks(
    arch: Architecture, visible: Array, query_positions: Array, key_positions: Array
) -> dict[str, Array]:
    if arch.sliding_window is None:
        return {"global": visible}
    distance = query_positions[:, :, None] - key_positions[:, None, :]
    return {"global": visible, "local": visible & (distance < arch.sliding_window)}


def _rope_tables(arch: Architecture, positions: Array) -> dict[str, tuple[Array, Array]]:
    """cos and sin [B, T, 1, H/2] of the rotary embedding (arXiv 2104.09864) by kind of layer."""
    exponent = 2 * jnp.arange(arch.head_dim // 2) / arch.head_dim

    def table(rope_base: float) -> tuple[Array, Array]:
        angle = positions[:, :, None, None] / rope_base**exponent
        return jnp.cos(angle), jnp.sin(angle)

    return {"global": table(arch.global_rope_base), "local": table(arch.local_rope_base)}


def _rotate(x: Array, rope: tuple[Array, Array]) -> Array:
    cos, sin = rope
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    rotated = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return rotated.astype(x.dtype)


def _rms_norm(x: Array, weight: Array) -> Array:
    """RMSNorm (arXiv 1910.07467) with Gemma's 1 + weight, computed in float32."""
    wide = x.astype(jnp.float32)
    wide *= jax.lax.rsqrt(jnp.mean(jnp.square(wide), axis=-1, keepdims=True) + 1e-6)
    return (wide * (1 + weight.astype(jnp.float32))).astype(x.dtype)


@jax.custom_vjp
def _expand(low_rank: Array, b: Array) -> Array:
    """LoRA's second product: low_rank [B, T, R] x b [R, ..out] -> [B, T, ..out].

    The gradient of b is written with low_rank first: XLA:CPU transposes the first factor of a
    product over tokens, so it copies R columns instead of all outputs. A quarter of the step.
    """
    return jnp.tensordot(low_rank, b, 1)


def _expand_forward(low_rank: Array, b: Array) -> tuple[Array, tuple[Array, Array]]:
    return _expand(low_rank, b), (low_rank, b)


def _expand_backward(saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    low_rank, b = saved
    outputs = (tuple(range(2, gradient.ndim)), tuple(range(1, b.ndim)))
    tokens = ((0, 1), (0, 1))
    return jnp.tensordot(gradient, b, outputs), jnp.tensordot(low_rank, gradient, tokens)


_expand.defvjp(_expand_forward, _expand_backward)

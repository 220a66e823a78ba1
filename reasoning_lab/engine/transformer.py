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
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from reasoning_lab.engine.architecture import Architecture

Array = jax.Array
Layer = Mapping[str, Any]
Base = Mapping[str, Any]
LoraLayers = Sequence[Mapping[str, Mapping[str, Array]]]
LayerCache = dict[str, Array]
"""Keys "k" and values "v" of one layer, each [S, B, K, H]: in this order XLA:CPU attends faster
than in [B, S, K, H]."""


class KVCache(NamedTuple):
    """Keys and values of tokens read before, S slots for each of B rows."""

    layers: tuple[LayerCache, ...]
    positions: Array  # int32 [B, S], the position of the token in each slot
    valid: Array  # bool [B, S], slots that hold a token


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
    branch_ids: Array | None = None,
    *,
    remat: bool = False,
) -> Array:
    """Final normalised hidden states [B, T, D] of packed rows.

    Args:
        tokens: int32 [B, T].
        positions: int32 [B, T], restarting at 0 with every segment.
        segment_ids: int32 [B, T]; a token attends only within its own segment. 0 marks padding.
        branch_ids: int32 [B, T], where a segment is one prompt with several completions: 0 in the
            prompt, which all of them see, and a number of its own in each, which none of the
            others sees. None: no segment branches.
        lora_scale: alpha / rank.
        remat: recompute each layer in the backward pass instead of keeping its activations.
    """
    index = jnp.arange(tokens.shape[1])
    visible = segment_ids[:, :, None] == segment_ids[:, None, :]
    visible &= index[:, None] >= index[None, :]
    if branch_ids is not None:
        visible &= (branch_ids[:, None] == 0) | (branch_ids[:, :, None] == branch_ids[:, None])
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
    write_index: Array | int,
    shared: KVCache | None = None,
) -> tuple[Array, KVCache]:
    """Hidden states [B, T, D] of new tokens, which see the caches and, causally, each other.

    Args:
        tokens, positions: int32 [B, T].
        cache: new keys go to the T slots from `write_index` on, whose positions and validity it
            already tells.
        shared: what rows begin with in common: each of its rows is seen by the same number of
            consecutive rows of `tokens`, and never copied for them.
    """
    masks = _attention_masks(arch, _visible(positions, cache), positions, cache.positions)
    shared_masks = {}
    if shared is not None:
        copies = len(tokens) // len(shared.positions)
        spread = shared._replace(
            positions=jnp.repeat(shared.positions, copies, axis=0),
            valid=jnp.repeat(shared.valid, copies, axis=0),
        )
        visible = _visible(positions, spread)
        shared_masks = _attention_masks(arch, visible, positions, spread.positions)
    ropes = _rope_tables(arch, positions)
    x = embed(base, tokens)
    updated: list[LayerCache] = []
    for i, weights in enumerate(base["layers"]):
        kind = arch.attention_kind(i)
        memory = _Memory(cache.layers[i], write_index)
        if shared is not None:
            memory = memory._replace(shared=shared.layers[i], shared_mask=shared_masks[kind])
        x, layer_cache = _layer(
            arch, weights, lora[i] if lora else {}, lora_scale, x, ropes[kind], masks[kind], memory
        )
        assert layer_cache is not None
        updated.append(layer_cache)
    return _rms_norm(x, base["final_norm"]), cache._replace(layers=tuple(updated))


def empty_cache(arch: Architecture, batch: int, slots: int, dtype: jnp.dtype) -> KVCache:
    """A cache without valid slots; slot s is at position s."""
    shape = (slots, batch, arch.num_kv_heads, arch.head_dim)
    return KVCache(
        layers=tuple(
            {"k": jnp.zeros(shape, dtype), "v": jnp.zeros(shape, dtype)}
            for _ in range(arch.num_layers)
        ),
        positions=jnp.broadcast_to(jnp.arange(slots), (batch, slots)),
        valid=jnp.zeros((batch, slots), bool),
    )


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
    memory: "_Memory | None",
) -> tuple[Array, LayerCache | None]:
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
    if memory is None:
        attended = _attend(arch, query, [(key, value, mask)])
    else:
        updated = memory.write(key, value)
        parts = [(*_rows_first(updated), mask)]
        if memory.shared is not None and memory.shared_mask is not None:
            parts.append((*_rows_first(memory.shared), memory.shared_mask))
        attended = _attend(arch, query, parts)
    y = project("o_proj", attended, contracted=2)
    if arch.post_norms:
        y = _rms_norm(y, weights["post_attention_norm"])
    x = x + y

    y = _rms_norm(x, weights["pre_ffw_norm"])
    y = jax.nn.gelu(project("gate_proj", y), approximate=True) * project("up_proj", y)
    y = project("down_proj", y)
    if arch.post_norms:
        y = _rms_norm(y, weights["post_ffw_norm"])
    return x + y, updated


class _Memory(NamedTuple):
    """What a layer sees besides its input, and where it writes its new keys and values."""

    cache: LayerCache
    write_index: Array | int
    shared: LayerCache | None = None
    shared_mask: Array | None = None

    def write(self, key: Array, value: Array) -> LayerCache:
        """The cache with new keys and values [B, T, K, H]."""
        start = (self.write_index, 0, 0, 0)
        return {
            name: jax.lax.dynamic_update_slice(
                self.cache[name], jnp.moveaxis(new, 1, 0).astype(self.cache[name].dtype), start
            )
            for name, new in (("k", key), ("v", value))
        }


def _rows_first(cache: LayerCache) -> tuple[Array, Array]:
    """[S, B, K, H] -> [B, S, K, H]; XLA folds it into the product that follows."""
    return jnp.moveaxis(cache["k"], 0, 1), jnp.moveaxis(cache["v"], 0, 1)


def _attend(arch: Architecture, query: Array, parts: Sequence[tuple[Array, Array, Array]]) -> Array:
    """Grouped-query attention over keys that stand in several places.

    Args:
        query: [B, T, N, H].
        parts: keys and values [C, S, K, H] with their mask [B, T, S]. Where C is less than B, each
            row serves B / C consecutive queries: no copies of a prompt are read for its
            completions (arXiv 2403.08845).
    """
    B, T, N, H = query.shape
    scores = []
    for key, _, mask in parts:
        C, S, K, _ = key.shape
        grouped = query.reshape(C, B // C, T, K, N // K, H)
        part = jnp.einsum("crtkgh,cskh->crkgts", grouped, key, preferred_element_type=jnp.float32)
        part = softcap(part.reshape(B, K, N // K, T, S), arch.attention_softcap)
        scores.append(jnp.where(mask[:, None, None], part, _MASKED))
    probabilities = jax.nn.softmax(jnp.concatenate(scores, axis=-1), axis=-1)
    total = jnp.zeros((), query.dtype)
    start = 0
    for _, value, _ in parts:
        C, S, K, _ = value.shape
        part = probabilities[..., start : start + S].astype(value.dtype)
        part = part.reshape(C, B // C, K, N // K, T, S)
        total += jnp.einsum("crkgts,cskh->crtkgh", part, value).reshape(B, T, N, H)
        start += S
    return total


def _visible(positions: Array, cache: KVCache) -> Array:
    """bool [B, T, S]: slots that hold a token at or before the position of each new one."""
    return cache.valid[:, None] & (positions[:, :, None] >= cache.positions[:, None])


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

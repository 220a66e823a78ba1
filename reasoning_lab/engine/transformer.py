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
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import Mesh

from reasoning_lab.engine.architecture import Architecture, AttentionKind
from reasoning_lab.engine.attention import Attention, attend, packed_attention, softcap
from reasoning_lab.engine.layout import Activations, Execution, everywhere, over_vocabulary, place

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


_PLAIN = Execution()

# What is kept of a layer when the rest is recomputed: in Gemma 3 1B an eighth of its activations,
# which take a third of its arithmetic. The hidden units of the MLP are what takes the memory.
_NARROW = "narrow"
_KEEP_NARROW = jax.checkpoint_policies.save_only_these_names(_NARROW)


def embed(base: Base, tokens: Array, mesh: Mesh | None = None) -> Array:
    """Token ids [B, T] -> embeddings [B, T, D], scaled by sqrt(D) in the embedding's own dtype."""
    x: Array = base["embedding"][everywhere(tokens, mesh)]  # tokens travel, the table does not
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
    execution: Execution = _PLAIN,
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
    """
    places = Activations(execution.mesh, weights_stay=False)
    attention = {
        kind: packed_attention(arch, positions, segment_ids, branch_ids, arch.window(kind))
        for kind in arch.attention_pattern
    }
    ropes = _rope_tables(arch, positions)

    def layer_fn(
        x: Array, before: Array, weights: Layer, adapter: Mapping[str, Any], kind: AttentionKind
    ) -> Array:
        weights = places.not_before(before, weights)
        return _layer(arch, weights, adapter, lora_scale, x, ropes[kind], attention[kind], places)

    if execution.remat:
        layer_fn = jax.checkpoint(layer_fn, static_argnums=4, policy=_KEEP_NARROW)
    x = before = places.residual(embed(base, tokens, execution.mesh))
    for i, weights in enumerate(base["layers"]):
        adapter = lora[i] if lora else {}
        x, before = layer_fn(x, before, weights, adapter, arch.attention_kind(i)), x
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
    *,
    mesh: Mesh | None = None,
) -> tuple[Array, KVCache]:
    """Hidden states [B, T, D] of new tokens, which see the caches and, causally, each other.

    Args:
        tokens, positions: int32 [B, T].
        cache: new keys go to the T slots from `write_index` on, whose positions and validity it
            already tells.
        shared: what rows begin with in common: each of its rows is seen by the same number of
            consecutive rows of `tokens`, and never copied for them.
    """
    places = Activations(mesh, weights_stay=tokens.shape[1] == 1)
    masks = _cache_masks(arch, positions, cache)
    shared_masks = {}
    if shared is not None:
        copies = len(tokens) // len(shared.positions)
        spread = shared._replace(
            positions=jnp.repeat(shared.positions, copies, axis=0),
            valid=jnp.repeat(shared.valid, copies, axis=0),
        )
        shared_masks = _cache_masks(arch, positions, spread)
    ropes = _rope_tables(arch, positions)
    x = before = places.residual(embed(base, tokens, mesh))
    updated: list[LayerCache] = []
    for i, weights in enumerate(base["layers"]):
        kind = arch.attention_kind(i)
        reading = _Reading(arch, mesh, cache.layers[i], write_index, masks[kind])
        if shared is not None:
            reading.shared = (*_rows_first(shared.layers[i]), shared_masks[kind])
        adapter = lora[i] if lora else {}
        weights, before = places.not_before(before, weights), x
        x = _layer(arch, weights, adapter, lora_scale, x, ropes[kind], reading, places)
        updated.append(reading.cache)
    return _rms_norm(x, base["final_norm"]), cache._replace(layers=tuple(updated))


def empty_cache(
    arch: Architecture, batch: int, slots: int, dtype: jnp.dtype, mesh: Mesh | None = None
) -> KVCache:
    """A cache without valid slots; slot s is at position s."""

    def empty() -> Array:
        return _placed_cache(
            jnp.zeros((slots, batch, arch.num_kv_heads, arch.head_dim), dtype), mesh
        )

    return KVCache(
        layers=tuple({"k": empty(), "v": empty()} for _ in range(arch.num_layers)),
        positions=jnp.broadcast_to(jnp.arange(slots), (batch, slots)),
        valid=jnp.zeros((batch, slots), bool),
    )


def logits(arch: Architecture, base: Base, hidden: Array, mesh: Mesh | None = None) -> Array:
    """Full-vocabulary logits: hidden [M, D] -> float32 [V, M], shared out like the embedding.

    The vocabulary leads because XLA:CPU multiplies embedding [V, D] by hidden^T almost twice as
    fast as hidden by embedding^T; other back-ends do not mind.
    """
    hidden = everywhere(hidden, mesh)  # states travel, the embedding does not
    raw = jnp.einsum("vd,md->vm", base["embedding"], hidden, preferred_element_type=jnp.float32)
    return softcap(over_vocabulary(raw, mesh), arch.final_softcap)


def _layer(
    arch: Architecture,
    weights: Layer,
    adapter: Mapping[str, Mapping[str, Array]],
    lora_scale: Array | float,
    x: Array,
    rope: tuple[Array, Array],
    attention: Attention,
    places: Activations,
) -> Array:
    def project(name: str, x: Array, contracted: int = 1) -> Array:
        y = jnp.tensordot(x, places.weight(name, weights[name]), contracted)
        if name in adapter:
            a, b = (adapter[name][part].astype(x.dtype) for part in ("a", "b"))
            low_rank = jnp.tensordot(x, a, contracted) * jnp.asarray(lora_scale, x.dtype)
            low_rank = checkpoint_name(low_rank, _NARROW)
            y += _expand(low_rank, b)
        return places.product(name, y)

    y = _rms_norm(x, weights["pre_attention_norm"])
    query = places.attending(project("q_proj", y))
    key, value = map(places.attending, jnp.moveaxis(project("kv_proj", y), 2, 0))
    if arch.query_key_norm:
        query = _rms_norm(query, weights["q_norm"])
        key = _rms_norm(key, weights["k_norm"])
    query = _rotate(query, rope) * jnp.asarray(arch.head_dim**-0.5, query.dtype)
    attended = places.attended(attention(query, _rotate(key, rope), value))
    attended = checkpoint_name(attended, _NARROW)
    y = checkpoint_name(places.residual(project("o_proj", attended, contracted=2)), _NARROW)
    if arch.post_norms:
        y = _rms_norm(y, weights["post_attention_norm"])
    x = x + y

    y = _rms_norm(x, weights["pre_ffw_norm"])
    y = jax.nn.gelu(project("gate_proj", y), approximate=True) * project("up_proj", y)
    y = checkpoint_name(places.residual(project("down_proj", y)), _NARROW)
    if arch.post_norms:
        y = _rms_norm(y, weights["post_ffw_norm"])
    return x + y


@dataclass
class _Reading:
    """Attention of one layer to its cache, into which it first writes what is new."""

    arch: Architecture
    mesh: Mesh | None
    cache: LayerCache
    write_index: Array | int
    mask: Array
    shared: tuple[Array, Array, Array] | None = None  # keys, values and their mask

    def __call__(self, query: Array, key: Array, value: Array) -> Array:
        self.cache = {"k": self._write("k", key), "v": self._write("v", value)}
        parts = [(*_rows_first(self.cache), self.mask)]
        return attend(self.arch, query, [*parts, self.shared] if self.shared else parts)

    def _write(self, name: str, new: Array) -> Array:
        """The cache's slots with the new keys or values [B, T, K, H] from `write_index` on."""
        slots = self.cache[name]
        new = jnp.moveaxis(new, 1, 0).astype(slots.dtype)
        written = jax.lax.dynamic_update_slice(slots, new, (self.write_index, 0, 0, 0))
        return _placed_cache(written, self.mesh)


def _placed_cache(slots: Array, mesh: Mesh | None) -> Array:
    """[S, B, K, H]: rows where their attention is computed."""
    return place(slots, mesh, None, "fsdp", "tp")


def _rows_first(cache: LayerCache) -> tuple[Array, Array]:
    """[S, B, K, H] -> [B, S, K, H]; XLA folds it into the product that follows."""
    return jnp.moveaxis(cache["k"], 0, 1), jnp.moveaxis(cache["v"], 0, 1)


def _cache_masks(
    arch: Architecture, positions: Array, cache: KVCache
) -> dict[AttentionKind, Array]:
    """By kind of layer, bool [B, T, S]: slots with a token that each new one sees."""
    visible = cache.valid[:, None] & (positions[:, :, None] >= cache.positions[:, None])
    if arch.sliding_window is None:
        return {"global": visible}
    distance = positions[:, :, None] - cache.positions[:, None, :]
    return {"global": visible, "local": visible & (distance < arch.sliding_window)}


def _rope_tables(arch: Architecture, positions: Array) -> dict[AttentionKind, tuple[Array, Array]]:
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

"""Small Gemmas of each generation with random weights, and the same in Tunix's own models."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import qwix
from flax import nnx
from jax.sharding import Mesh
from tunix.models.gemma import model as tunix_gemma
from tunix.models.gemma3 import model as tunix_gemma3

from reasoning_lab.engine.architecture import ARCHITECTURES, Architecture
from reasoning_lab.engine.layout import replicate
from reasoning_lab.engine.lora import LoraModel, Params, init_params
from reasoning_lab.engine.models import Policy
from reasoning_lab.engine.specs import LoraSpec, TargetModule
from reasoning_lab.engine.tokenizer import byte_tokenizer
from reasoning_lab.engine.weights import shapes

GEMMA3 = ARCHITECTURES["gemma3_tiny"]
# One local and one global layer: half as long to compile, for tests of what is around the model.
SMALL = replace(GEMMA3, num_layers=2, attention_pattern=("local", "global"))
GEMMA2 = replace(
    ARCHITECTURES["gemma2_2b"],
    num_layers=4,
    vocab_size=128,
    embed_dim=32,
    hidden_dim=48,
    num_heads=4,
    num_kv_heads=2,
    head_dim=16,
    sliding_window=8,
    # Low enough to bend what random weights give.
    attention_softcap=2.0,
    final_softcap=1.5,
)
GEMMA1 = replace(
    ARCHITECTURES["gemma_2b"],
    num_layers=2,
    vocab_size=128,
    embed_dim=32,
    hidden_dim=48,
    num_heads=4,
    head_dim=16,
)

ALL_MODULES: tuple[TargetModule, ...] = (
    *("q_proj", "k_proj", "v_proj", "o_proj"),
    *("gate_proj", "up_proj", "down_proj"),
)
ALL_LINEAR = LoraSpec(rank=4, alpha=8.0, target_modules=ALL_MODULES)

# Our name of a layer's weight -> its path in Tunix's layer, and the order of our axes in Tunix's.
_LAYER_PATHS: dict[str, tuple[str, tuple[int, ...] | None]] = {
    "pre_attention_norm": ("pre_attention_norm.scale", None),
    "q_proj": ("attn.q_einsum.w", (1, 0, 2)),
    "kv_proj": ("attn.kv_einsum.w", (1, 2, 0, 3)),
    "o_proj": ("attn.attn_vec_einsum.w", None),
    "q_norm": ("attn._query_norm.scale", None),
    "k_norm": ("attn._key_norm.scale", None),
    "pre_ffw_norm": ("pre_ffw_norm.scale", None),
    "gate_proj": ("mlp.gate_proj.kernel", None),
    "up_proj": ("mlp.up_proj.kernel", None),
    "down_proj": ("mlp.down_proj.kernel", None),
    "post_ffw_norm": ("post_ffw_norm.scale", None),
}


def random_weights(arch: Architecture, seed: int = 0, dtype: Any = jnp.float32) -> dict[str, Any]:
    """Base weights of which no two are alike, norms included."""
    rng = np.random.default_rng(seed)

    def weight(shape: tuple[int, ...]) -> jax.Array:
        scale = 0.3 if len(shape) == 1 else arch.embed_dim**-0.5
        return jnp.asarray(rng.normal(0, scale, shape), dtype)

    base: dict[str, Any] = jax.tree.map(
        weight, shapes(arch), is_leaf=lambda x: isinstance(x, tuple)
    )
    return base


def random_lora(arch: Architecture, spec: LoraSpec, seed: int = 0) -> Params:
    """LoRA weights large enough to change every answer: neither A nor B is zero."""
    rng = np.random.default_rng(seed)
    params: Params = jax.tree.map(
        lambda x: jnp.asarray(rng.normal(0, 0.1, x.shape), x.dtype),
        jax.eval_shape(lambda: init_params(arch, spec, seed)),
    )
    return params


def tiny_policy(
    arch: Architecture = SMALL,
    spec: LoraSpec = ALL_LINEAR,
    *,
    seed: int = 0,
    dtype: Any = jnp.float32,
) -> Policy:
    mesh = Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ("fsdp", "tp"))
    return Policy(
        arch=arch,
        tokenizer=byte_tokenizer(),
        base=random_weights(arch, seed, dtype),
        lora=LoraModel(replicate(init_params(arch, spec, seed), mesh)),
        target_modules=spec.target_modules,
        lora_scale=spec.alpha / spec.rank,
        mesh=mesh,
    )


def unpacked(tokens: np.ndarray[Any, Any]) -> tuple[jax.Array, jax.Array, jax.Array]:
    """tokens, positions and segment ids of rows that hold one example each, without padding."""
    positions = np.broadcast_to(np.arange(tokens.shape[1], dtype=np.int32), tokens.shape)
    return jnp.asarray(tokens), jnp.asarray(positions), jnp.ones_like(tokens)


def new_tunix_model(arch: Architecture) -> Any:
    """Tunix's model of an architecture, freshly initialised."""
    sizes = {
        "num_layers": arch.num_layers,
        "num_embed": arch.vocab_size,
        "embed_dim": arch.embed_dim,
        "hidden_dim": arch.hidden_dim,
        "num_heads": arch.num_heads,
        "head_dim": arch.head_dim,
        "num_kv_heads": arch.num_kv_heads,
        "sliding_window_size": arch.sliding_window,
    }
    if arch.query_key_norm:
        return tunix_gemma3.Gemma3(
            tunix_gemma3.ModelConfig(
                **sizes,
                local_base_frequency=arch.local_rope_base,
                global_base_frequency=arch.global_rope_base,
                param_dtype=jnp.float32,
            ),
            rngs=nnx.Rngs(0),
        )
    kinds = {
        "local": tunix_gemma.AttentionType.LOCAL_SLIDING,
        "global": tunix_gemma.AttentionType.GLOBAL,
    }
    return tunix_gemma.Gemma(
        tunix_gemma.ModelConfig(
            **sizes,
            final_logit_softcap=arch.final_softcap,
            use_post_attn_norm=arch.post_norms,
            use_post_ffw_norm=arch.post_norms,
            attention_types=[kinds[arch.attention_kind(i)] for i in range(arch.num_layers)],
            attn_logits_soft_cap=arch.attention_softcap,
        ),
        rngs=nnx.Rngs(0),
    )


def with_qwix_lora(model: Any, spec: LoraSpec) -> Any:
    """Tunix's model with qwix's LoRA on all of Tunix's projections."""
    provider = qwix.LoraProvider(
        module_path=".*(q_einsum|kv_einsum|attn_vec_einsum|gate_proj|up_proj|down_proj)",
        rank=spec.rank,
        alpha=spec.alpha,
    )
    return qwix.apply_lora_to_model(model, provider, rngs=nnx.Rngs(0), **model.get_model_input())


def set_base(model: nnx.Module, arch: Architecture, base: Mapping[str, Any]) -> None:
    """Give Tunix's model our base weights, and check that each has its place."""
    paths = dict(_LAYER_PATHS)
    name = "post_attention_norm" if arch.query_key_norm else "post_attn_norm"
    paths["post_attention_norm"] = (f"{name}.scale", None)
    flat = {
        "embedder.input_embedding": base["embedding"],
        "final_norm.scale": base["final_norm"],
    }
    for i, layer in enumerate(base["layers"]):
        for name, value in layer.items():
            path, order = paths[name]
            flat[f"layers.{i}.{path}"] = value if order is None else jnp.transpose(value, order)
    _, state = nnx.state(model, nnx.LoRAParam, nnx.Param)
    _set(state, flat)
    nnx.update(model, state)


def set_lora(model: nnx.Module, params: Params) -> None:
    """Give Tunix's model our LoRA weights, each to the parameter of the same path."""
    ours = nnx.to_flat_state(nnx.state(LoraModel(params), nnx.LoRAParam))
    state = nnx.state(model, nnx.LoRAParam)
    _set(state, {".".join(map(str, path)): variable[...] for path, variable in ours})
    nnx.update(model, state)


def _set(state: nnx.State, values: dict[str, Any]) -> None:
    for path, variable in nnx.to_flat_state(state):
        value = values.pop(".".join(map(str, path)))
        assert variable.shape == value.shape, path
        variable.set_value(value)
    assert not values


def tunix_logits(model: nnx.Module, tokens: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(tunix_forward(model, jnp.asarray(tokens)))


@nnx.jit
def tunix_forward(model: Any, tokens: jax.Array) -> jax.Array:
    """Logits [B, T, V] of full rows, causal."""
    B, T = tokens.shape
    positions = jnp.broadcast_to(jnp.arange(T), (B, T))
    mask = jnp.broadcast_to(jnp.tril(jnp.ones((T, T), bool)), (B, T, T))
    logits: jax.Array = model(tokens, positions, None, mask)[0]
    return logits

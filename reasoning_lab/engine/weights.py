"""Base weights from safetensors, Orbax or a seed: every tensor there, in shape, used once."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from reasoning_lab.config import ConfigError
from reasoning_lab.engine.architecture import Architecture

Read = Callable[[str], np.ndarray[Any, Any]]
"""Tensor name -> its values, read from disk when called."""


def shapes(arch: Architecture) -> dict[str, Any]:
    """The shape of every base weight, nested as engine/transformer.py reads them."""
    D, F, N, K, H = (
        arch.embed_dim,
        arch.hidden_dim,
        arch.num_heads,
        arch.num_kv_heads,
        arch.head_dim,
    )
    layer: dict[str, tuple[int, ...]] = {
        "pre_attention_norm": (D,),
        "q_proj": (D, N, H),
        "kv_proj": (D, 2, K, H),
        "o_proj": (N, H, D),
        "pre_ffw_norm": (D,),
        "gate_proj": (D, F),
        "up_proj": (D, F),
        "down_proj": (F, D),
    }
    if arch.query_key_norm:
        layer |= {"q_norm": (H,), "k_norm": (H,)}
    if arch.post_norms:
        layer |= {"post_attention_norm": (D,), "post_ffw_norm": (D,)}
    return {
        "embedding": (arch.vocab_size, D),
        "final_norm": (D,),
        "layers": [dict(layer) for _ in range(arch.num_layers)],
    }


def random_base(arch: Architecture, seed: int, dtype: jnp.dtype) -> dict[str, Any]:
    """Weights of scale 1/sqrt(D), norms at zero: a model that trains, for tests and dry runs."""
    leaves, tree = jax.tree.flatten(shapes(arch), is_leaf=lambda x: isinstance(x, tuple))
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    values = [
        jnp.zeros(shape, dtype)
        if len(shape) == 1
        else jax.random.normal(key, shape, dtype) * jnp.asarray(arch.embed_dim**-0.5, dtype)
        for key, shape in zip(keys, leaves, strict=True)
    ]
    base: dict[str, Any] = jax.tree.unflatten(tree, values)
    return base


def load_safetensors(arch: Architecture, folder: Path, dtype: jnp.dtype) -> dict[str, Any]:
    """Weights of a Hugging Face checkpoint folder (one or several .safetensors files).

    Raises:
        ConfigError: no file, a damaged file, a missing, surplus or misshapen tensor.
    """
    import ml_dtypes  # noqa: F401  registers bfloat16 with numpy, which safetensors needs
    from safetensors import SafetensorError, safe_open

    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ConfigError(f"{folder}: no .safetensors file in this folder.")
    handles = {}
    try:
        for file in files:
            handle = safe_open(file, framework="flax")
            handles.update(dict.fromkeys(handle.keys(), handle))
        names = {_without_wrapper(name): name for name in handles}
        return _assemble(
            arch,
            names=set(names) - {"lm_head.weight"},  # tied to the embedding in every Gemma
            read=lambda name: handles[names[name]].get_tensor(names[name]),
            rules=_hugging_face_rules(arch),
            dtype=dtype,
            where=str(folder),
        )
    except SafetensorError as error:
        raise ConfigError(
            f"{folder}: a .safetensors file is damaged or truncated ({error}). Download it again."
        ) from error


def load_orbax(arch: Architecture, folder: Path, dtype: jnp.dtype) -> dict[str, Any]:
    """Weights of a Flax/Orbax checkpoint as published on Kaggle.

    Raises:
        ConfigError: not an Orbax checkpoint, a missing, surplus or misshapen tensor.
    """
    import orbax.checkpoint as ocp

    try:
        tree = ocp.StandardCheckpointer().restore(folder.absolute())
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"{folder}: not a readable Orbax checkpoint ({type(error).__name__}: "
            f"{str(error)[:200]}). Download it again."
        ) from error
    flat = {
        ("/".join(path)).removeprefix("params/").removeprefix("transformer/"): value
        for path, value in _flatten(tree)
    }
    return _assemble(
        arch,
        names=set(flat),
        read=lambda name: np.asarray(flat[name]),
        rules=_flax_rules(arch),
        dtype=dtype,
        where=str(folder),
    )


Rule = tuple[tuple[str, ...], Callable[..., Any]]
"""(names of the source tensors, function of their values giving the weight)."""


def _hugging_face_rules(arch: Architecture) -> dict[str, Any]:
    N, K, H = arch.num_heads, arch.num_kv_heads, arch.head_dim

    def heads(count: int) -> Callable[[Any], Any]:
        return lambda w: w.T.reshape(w.shape[1], count, H)  # [count*H, D] -> [D, count, H]

    def layer(i: int) -> dict[str, Rule]:
        def name(part: str) -> str:
            return f"model.layers.{i}.{part}.weight"

        def plain(part: str) -> Rule:
            return (name(part),), lambda w: w

        def transposed(part: str) -> Rule:
            return (name(part),), lambda w: w.T

        key_value = (name("self_attn.k_proj"), name("self_attn.v_proj"))
        rules: dict[str, Rule] = {
            "pre_attention_norm": plain("input_layernorm"),
            "q_proj": ((name("self_attn.q_proj"),), heads(N)),
            "kv_proj": (key_value, lambda k, v: jnp.stack([heads(K)(k), heads(K)(v)], axis=1)),
            "o_proj": ((name("self_attn.o_proj"),), lambda w: w.T.reshape(N, H, -1)),
            "gate_proj": transposed("mlp.gate_proj"),
            "up_proj": transposed("mlp.up_proj"),
            "down_proj": transposed("mlp.down_proj"),
        }
        if arch.query_key_norm:
            rules |= {"q_norm": plain("self_attn.q_norm"), "k_norm": plain("self_attn.k_norm")}
        if arch.post_norms:
            rules |= {
                "post_attention_norm": plain("post_attention_layernorm"),
                "pre_ffw_norm": plain("pre_feedforward_layernorm"),
                "post_ffw_norm": plain("post_feedforward_layernorm"),
            }
        else:
            # Gemma 1 has two norms a layer, and Hugging Face names the second after its place in
            # Llama.
            rules |= {"pre_ffw_norm": plain("post_attention_layernorm")}
        return rules

    return {
        "embedding": (("model.embed_tokens.weight",), lambda w: w),
        "final_norm": (("model.norm.weight",), lambda w: w),
        "layers": [layer(i) for i in range(arch.num_layers)],
    }


def _flax_rules(arch: Architecture) -> dict[str, Any]:
    D, F = arch.embed_dim, arch.hidden_dim

    def gating(index: int) -> Callable[[Any], Any]:
        # [2, F, D] in Gemma 3 and the larger Gemma 2, [2, D, F] elsewhere.
        return lambda w: w[index].T if w.shape[1:] == (F, D) else w[index]

    def layer(i: int) -> dict[str, Rule]:
        def plain(path: str) -> Rule:
            return (f"layer_{i}/{path}",), lambda w: w

        gate = (f"layer_{i}/mlp/gating_einsum/w",)
        rules: dict[str, Rule] = {
            "pre_attention_norm": plain("pre_attention_norm/scale"),
            "q_proj": ((f"layer_{i}/attn/q_einsum/w",), lambda w: jnp.moveaxis(w, 0, 1)),
            # [2, K, D, H] -> [D, 2, K, H]
            "kv_proj": ((f"layer_{i}/attn/kv_einsum/w",), lambda w: jnp.moveaxis(w, 2, 0)),
            "o_proj": plain("attn/attn_vec_einsum/w"),
            "pre_ffw_norm": plain("pre_ffw_norm/scale"),
            "gate_proj": (gate, gating(0)),
            "up_proj": (gate, gating(1)),
            "down_proj": plain("mlp/linear/w"),
        }
        if arch.query_key_norm:
            rules |= {
                "q_norm": plain("attn/_query_norm/scale"),
                "k_norm": plain("attn/_key_norm/scale"),
            }
        if arch.post_norms:
            rules |= {
                "post_attention_norm": plain("post_attention_norm/scale"),
                "post_ffw_norm": plain("post_ffw_norm/scale"),
            }
        return rules

    return {
        "embedding": (("embedder/input_embedding",), lambda w: w),
        "final_norm": (("final_norm/scale",), lambda w: w),
        "layers": [layer(i) for i in range(arch.num_layers)],
    }


def _assemble(
    arch: Architecture,
    names: set[str],
    read: Read,
    rules: dict[str, Any],
    dtype: jnp.dtype,
    where: str,
) -> dict[str, Any]:
    def is_rule(x: Any) -> bool:
        return isinstance(x, tuple)

    wanted, tree = jax.tree.flatten_with_path(rules, is_leaf=is_rule)
    expected = jax.tree.leaves(shapes(arch), is_leaf=is_rule)
    needed = {name for _, (sources, _) in wanted for name in sources}
    if missing := needed - names:
        raise ConfigError(_tensor_complaint(where, "lacks", missing))
    if surplus := names - needed:
        raise ConfigError(_tensor_complaint(where, "has unknown", surplus))
    values = []
    for (path, (sources, transform)), shape in zip(wanted, expected, strict=True):
        inputs = [*map(read, sources)]
        try:
            value = jnp.asarray(transform(*inputs), dtype)
        except (TypeError, ValueError):  # cannot be cut into heads
            value = None
        is_embedding = path[0].key == "embedding"
        # Gemma 1 and 2 are published with 256,000 and with 256,128 rows; the surplus is padding.
        free = 1 if is_embedding else 0
        if value is None or value.ndim != len(shape) or value.shape[free:] != shape[free:]:
            given = " + ".join(f"{n} {x.shape}" for n, x in zip(sources, inputs, strict=True))
            raise ConfigError(
                f"{where}: {given} cannot give this model's {shape}. "
                "Does model.architecture match these weights?"
            )
        values.append(value)
    base: dict[str, Any] = jax.tree.unflatten(tree, values)
    return base


def _tensor_complaint(where: str, verb: str, names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:4]) + (", …" if len(names) > 4 else "")
    return (
        f"{where}: the checkpoint {verb} {len(names)} tensors ({shown}). "
        "Does model.architecture match these weights?"
    )


def _without_wrapper(name: str) -> str:
    """Multimodal checkpoints nest the text model one level deeper."""
    return name.removeprefix("language_model.").replace("model.language_model.", "model.")


def _flatten(
    tree: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, (*path, key))
        else:
            yield (*path, key), value

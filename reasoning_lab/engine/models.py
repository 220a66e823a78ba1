"""A policy: a frozen Gemma with its tokenizer and LoRA weights, built from two specs."""

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from reasoning_lab.config import ConfigError
from reasoning_lab.engine import layout, locate, weights
from reasoning_lab.engine.architecture import ARCHITECTURES, Architecture
from reasoning_lab.engine.generate import Generator
from reasoning_lab.engine.lora import LoraModel, Params, init_params
from reasoning_lab.engine.specs import LoraSpec, ModelSpec
from reasoning_lab.engine.tokenizer import Tokenizer, byte_tokenizer


@dataclass(kw_only=True)
class Policy:
    """The weights that answer. Training updates `lora`; everything else is frozen."""

    arch: Architecture
    tokenizer: Tokenizer
    base: dict[str, Any]
    lora: LoraModel
    target_modules: tuple[str, ...]
    lora_scale: float  # alpha / rank
    mesh: Mesh

    @property
    def params(self) -> Params:
        return self.lora.params

    def generator(
        self, *, batch_size: int, stop: str | None = None, base_only: bool = False
    ) -> Generator:
        """Generates with the LoRA weights as they are now, or with none of them."""
        return Generator(
            arch=self.arch,
            base=self.base,
            tokenizer=self.tokenizer,
            params=None if base_only else self.params,
            target_modules=self.target_modules,
            lora_scale=self.lora_scale,
            batch_size=batch_size,
            stop=stop,
            mesh=self.mesh,
        )


def load_tokenizer(model: ModelSpec) -> Tokenizer:
    """A model's tokenizer alone.

    Raises:
        ConfigError: what is missing or wrong, and what to do about it.
    """
    if model.weights == "random":
        return byte_tokenizer()
    folder = locate.model_folder(model)
    if model.weights == "orbax":
        folder = locate.orbax_folder(folder)
    return Tokenizer.load(locate.tokenizer_file(model, folder))


def load_policy(
    model: ModelSpec, lora_spec: LoraSpec, *, param_dtype: str, mesh: Mesh, seed: int
) -> Policy:
    """Load and check the base weights, spread them over the mesh, and add fresh LoRA weights.

    The base weights stay in memory until others are asked for: runs of a sweep share them.

    Raises:
        ConfigError: what is missing or wrong, and what to do about it.
    """
    arch = ARCHITECTURES[model.architecture]
    base_seed = seed if model.weights == "random" else None
    key = (model, param_dtype, mesh, base_seed)
    if key not in _newest_base:
        _newest_base.clear()  # before loading: two would not fit
        base = _load_base(model, jnp.dtype(param_dtype), seed)
        _newest_base[key] = layout.shard_base(base, mesh)
    return Policy(
        arch=arch,
        tokenizer=load_tokenizer(model),
        base=_newest_base[key],
        lora=LoraModel(layout.replicate(init_params(arch, lora_spec, seed), mesh)),
        target_modules=lora_spec.target_modules,
        lora_scale=lora_spec.alpha / lora_spec.rank,
        mesh=mesh,
    )


_newest_base: dict[Hashable, dict[str, Any]] = {}  # at most one


def _load_base(model: ModelSpec, dtype: jnp.dtype, seed: int) -> dict[str, Any]:
    arch = ARCHITECTURES[model.architecture]
    if model.weights == "random":
        return weights.random_base(arch, seed, dtype)
    folder = locate.model_folder(model)
    if model.weights == "orbax":
        folder = locate.orbax_folder(folder)
        base = weights.load_orbax(arch, folder, dtype)
    else:
        base = weights.load_safetensors(arch, folder, dtype)
    tokenizer = load_tokenizer(model)
    if tokenizer.vocab_size > base["embedding"].shape[0]:
        raise ConfigError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size:,} tokens and the embedding "
            f"{base['embedding'].shape[0]:,} rows. They belong to different models: check "
            "model.location and model.tokenizer."
        )
    return base


def fingerprint(base: dict[str, Any]) -> str:
    """sha256 over name, shape and a sample of every base weight: quick even for large models."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(base):
        digest.update(f"{jax.tree_util.keystr(path)}{leaf.shape}{leaf.dtype}".encode())
        sample = leaf.ravel()[:: max(1, leaf.size // 1024)]
        digest.update(layout.on_host(sample).astype(np.float32).tobytes())
    return digest.hexdigest()

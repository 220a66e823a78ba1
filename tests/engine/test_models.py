"""From a ModelSpec and a LoraSpec to a policy."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh
from published import KINDS, PIECES, hugging_face, kaggle, save_orbax
from safetensors.flax import save_file
from tiny_models import ALL_LINEAR, GEMMA3, random_weights

from reasoning_lab.config import ConfigError
from reasoning_lab.engine.models import Policy, fingerprint, load_policy
from reasoning_lab.engine.specs import LoraSpec, ModelSpec
from reasoning_lab.engine.tokenizer import byte_tokenizer, sentencepiece_model

QV = LoraSpec(rank=4, alpha=6.0, target_modules=("q_proj", "v_proj"))


@pytest.fixture(scope="module")
def base() -> dict[str, Any]:
    return random_weights(GEMMA3)


def load(lora: LoraSpec = QV, *, seed: int = 0, dtype: str = "float32", **model: Any) -> Policy:
    spec = ModelSpec(architecture="gemma3_tiny", **model)
    mesh = Mesh(np.array(jax.devices()[:1]).reshape(1, 1), ("fsdp", "tp"))
    return load_policy(spec, lora, param_dtype=dtype, mesh=mesh, seed=seed)


def write_tokenizer(folder: Path, extra: int = 0) -> None:
    pieces = [*PIECES, *(f"piece {i}" for i in range(extra))]
    kinds = [*KINDS, *[1] * extra]
    model = sentencepiece_model(pieces, [0.0] * len(pieces), kinds)
    (folder / "tokenizer.model").write_bytes(model)


def assert_same(a: Any, b: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_a_folder_of_safetensors(base: dict[str, Any], tmp_path: Path) -> None:
    save_file(hugging_face(GEMMA3, base), tmp_path / "model.safetensors")
    write_tokenizer(tmp_path)
    policy = load(weights="safetensors", location=str(tmp_path))
    assert_same(policy.base, base)
    assert policy.tokenizer.prompt("hello") == byte_tokenizer().prompt("hello")
    assert (policy.arch, policy.lora_scale) == (GEMMA3, 1.5)


def test_a_folder_of_orbax_as_kaggle_unpacks_it(base: dict[str, Any], tmp_path: Path) -> None:
    save_orbax(tmp_path / "gemma3-tiny", kaggle(GEMMA3, base))
    write_tokenizer(tmp_path)
    assert_same(load(weights="orbax", location=str(tmp_path)).base, base)


def test_a_tokenizer_that_is_larger_than_the_embedding_is_refused(
    base: dict[str, Any], tmp_path: Path
) -> None:
    save_file(hugging_face(GEMMA3, base), tmp_path / "model.safetensors")
    write_tokenizer(tmp_path, extra=300)
    with pytest.raises(ConfigError, match="tokenizer has 563 tokens and the embedding 512 rows"):
        load(weights="safetensors", location=str(tmp_path))


def test_random_weights_and_lora_are_functions_of_the_seed() -> None:
    one, same, other = (load(ALL_LINEAR, seed=s, weights="random") for s in (0, 0, 1))
    assert_same((one.base, one.params), (same.base, same.params))
    assert fingerprint(one.base) == fingerprint(same.base) != fingerprint(other.base)
    a, b = (p.params["layers"][0]["attn"]["q_einsum"]["w_lora_a"] for p in (one, other))
    assert (a != b).all()
    layers = one.params["layers"]
    assert (a != layers[1]["attn"]["q_einsum"]["w_lora_a"]).all()


def test_lora_is_float32_over_a_bfloat16_base() -> None:
    policy = load(dtype="bfloat16", weights="random")
    assert {x.dtype for x in jax.tree.leaves(policy.base)} == {jnp.bfloat16.dtype}
    assert {x.dtype for x in jax.tree.leaves(policy.params)} == {jnp.float32.dtype}


def test_lora_goes_where_one_says() -> None:
    def adapted(*modules: Any) -> set[str]:
        policy = load(replace(QV, target_modules=modules), weights="random")
        layers = [
            {module for block in layer.values() for module in block}
            for layer in policy.params["layers"].values()
        ]
        assert len(layers) == GEMMA3.num_layers
        assert all(layer == layers[0] for layer in layers)
        return layers[0]

    assert adapted("q_proj", "v_proj") == {"q_einsum", "kv_einsum"}
    assert adapted("k_proj", "v_proj") == {"kv_einsum"}
    assert adapted("down_proj", "o_proj") == {"down_proj", "attn_vec_einsum"}


def test_a_fingerprint_tells_weights_apart(base: dict[str, Any]) -> None:
    norm = base["layers"][3]["pre_ffw_norm"]
    layers = list(base["layers"])
    layers[3] = layers[3] | {"pre_ffw_norm": norm.at[7].add(1e-3)}
    assert fingerprint(base) != fingerprint(base | {"layers": layers})
    wide = jax.tree.map(lambda x: x.astype(jnp.bfloat16), base)
    assert fingerprint(base) != fingerprint(wide)

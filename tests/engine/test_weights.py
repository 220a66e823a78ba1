"""Checkpoints as they are published: read right, or refused with a remedy."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from published import Tensors, hugging_face, kaggle, save_orbax
from safetensors.flax import save_file
from tiny_models import GEMMA1, GEMMA2, SMALL, new_tunix_model, random_weights, set_base
from tunix.models.gemma import model as tunix_gemma
from tunix.models.gemma import params as tunix_gemma_params
from tunix.models.gemma import params_safetensors as tunix_gemma_safetensors
from tunix.models.gemma3 import params as tunix_gemma3_params
from tunix.models.gemma3 import params_safetensors as tunix_gemma3_safetensors

from reasoning_lab.config import ConfigError
from reasoning_lab.engine.architecture import Architecture
from reasoning_lab.engine.locate import orbax_folder
from reasoning_lab.engine.weights import load_orbax, load_safetensors, random_base, shapes

pytestmark = [  # Tunix's loaders use what flax deprecates
    pytest.mark.filterwarnings("ignore:.flax.nnx.State. will be deprecated"),
    pytest.mark.filterwarnings("ignore:'.value' setter is now deprecated"),
]

_GEMMAS = {"gemma1": GEMMA1, "gemma2": GEMMA2, "gemma3": SMALL}
GENERATIONS = pytest.mark.parametrize("arch", _GEMMAS.values(), ids=_GEMMAS.keys())


def assert_same(a: Any, b: Any) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def tunix_state(model: nnx.Module) -> dict[str, np.ndarray[Any, Any]]:
    flat = nnx.to_flat_state(nnx.state(model, nnx.Param))
    return {".".join(map(str, path)): np.asarray(x[...]) for path, x in flat}


def as_in_tunix(arch: Architecture, base: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
    model = nnx.eval_shape(lambda: new_tunix_model(arch))
    set_base(model, arch, base)
    return tunix_state(model)


@GENERATIONS
def test_hugging_face_checkpoint_in_one_file(arch: Architecture, tmp_path: Path) -> None:
    base = random_weights(arch)
    save_file(hugging_face(arch, base), tmp_path / "model.safetensors")
    assert_same(load_safetensors(arch, tmp_path, jnp.float32), base)


def test_hugging_face_checkpoint_in_shards_with_wrapper_and_head(tmp_path: Path) -> None:
    """Names as in multimodal checkpoints, and an output head, which Gemma ties to the embedding."""
    base = random_weights(SMALL)
    tensors = {f"language_model.{name}": x for name, x in hugging_face(SMALL, base).items()}
    tensors["lm_head.weight"] = base["embedding"]
    names = sorted(tensors)
    for shard, part in enumerate([names[::2], names[1::2]], start=1):
        file = tmp_path / f"model-0000{shard}-of-00002.safetensors"
        save_file({name: tensors[name] for name in part}, file)
    assert_same(load_safetensors(SMALL, tmp_path, jnp.float32), base)


def test_the_embedding_may_lack_padding_rows(tmp_path: Path) -> None:
    """Gemma 1 and 2 are published with 256,000 rows and with 256,128."""
    base = random_weights(GEMMA1)
    base["embedding"] = base["embedding"][:-8]
    save_file(hugging_face(GEMMA1, base), tmp_path / "model.safetensors")
    assert_same(load_safetensors(GEMMA1, tmp_path, jnp.float32), base)


def test_bfloat16_checkpoint_in_either_format(tmp_path: Path) -> None:
    base = random_weights(SMALL, dtype=jnp.bfloat16)
    save_file(hugging_face(SMALL, base), tmp_path / "model.safetensors")
    assert_same(load_safetensors(SMALL, tmp_path, jnp.bfloat16), base)
    wide = load_safetensors(SMALL, tmp_path, jnp.float32)
    assert {x.dtype for x in jax.tree.leaves(wide)} == {jnp.float32.dtype}
    assert_same(wide, jax.tree.map(lambda x: x.astype(jnp.float32), base))


@pytest.mark.parametrize("arch", [GEMMA2, SMALL], ids=["gemma2", "gemma3"])
def test_hugging_face_checkpoint_is_read_as_by_tunix(arch: Architecture, tmp_path: Path) -> None:
    """Gemma 1 is missing: see test_tunix_defects.py."""
    save_file(hugging_face(arch, random_weights(arch)), tmp_path / "model.safetensors")
    config = nnx.eval_shape(lambda: new_tunix_model(arch)).config
    loader = tunix_gemma3_safetensors if arch.query_key_norm else tunix_gemma_safetensors
    theirs = loader.create_model_from_safe_tensors(str(tmp_path), config, dtype=jnp.float32)
    assert_same(
        as_in_tunix(arch, load_safetensors(arch, tmp_path, jnp.float32)), tunix_state(theirs)
    )


@GENERATIONS
def test_kaggle_checkpoint_is_read_as_by_tunix(arch: Architecture, tmp_path: Path) -> None:
    base = random_weights(arch)
    folder = tmp_path / "variation" / "gemma-tiny"
    save_orbax(folder, kaggle(arch, base))
    assert orbax_folder(tmp_path / "variation") == folder == orbax_folder(folder)
    ours = load_orbax(arch, folder, jnp.float32)
    assert_same(ours, base)
    if arch.query_key_norm:
        upstream = ocp.StandardCheckpointer().restore(folder)
        theirs = nnx.eval_shape(lambda: new_tunix_model(arch))
        nnx.update(theirs, tunix_gemma3_params.map_from_upstream_checkpoint(upstream))
    else:
        theirs = tunix_gemma.module_from_linen_variables(
            lambda: new_tunix_model(arch),
            tunix_gemma_params.load_and_format_params(str(folder))["transformer"],
            tunix_gemma._map_linen_var_names,
            tunix_gemma._assign_linen_params_to_nnx_state,
        )
    assert_same(as_in_tunix(arch, ours), tunix_state(theirs))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    save_file(hugging_face(SMALL, random_weights(SMALL)), folder / "model.safetensors")
    return folder


Spoil = Callable[[Path, Tensors], object]
_Q = "model.layers.1.self_attn.q_proj.weight"


def rewrite(change: Callable[[Tensors], object]) -> Spoil:
    def spoil(folder: Path, tensors: Tensors) -> None:
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return spoil


def truncate(folder: Path, _: Tensors) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


SPOILED: dict[str, tuple[Spoil, str]] = {
    "missing": (rewrite(lambda t: t.pop(_Q)), rf"lacks 1 tensors \({_Q}\).*model\.architecture"),
    "surplus": (
        rewrite(lambda t: t.update({"model.layers.1.self_attn.sinks": jnp.zeros(4)})),
        r"has unknown 1 tensors \(model\.layers\.1\.self_attn\.sinks\).*model\.architecture",
    ),
    "misshapen": (
        rewrite(lambda t: t.update({_Q: t[_Q][:-16]})),
        rf"{_Q} \(48, 64\) cannot give this model's \(64, 4, 16\).*model\.architecture",
    ),
    "misshapen norm": (
        rewrite(lambda t: t.update({"model.norm.weight": jnp.zeros(65)})),
        r"model\.norm\.weight \(65,\) cannot give this model's \(64,\)",
    ),
    "narrow embedding": (
        rewrite(lambda t: t.update({"model.embed_tokens.weight": jnp.zeros((512, 32))})),
        r"embed_tokens\.weight \(512, 32\) cannot give this model's \(512, 64\)",
    ),
    "truncated": (truncate, "damaged or truncated.*Download it again"),
    "a web page": (
        lambda folder, _: (folder / "model.safetensors").write_text("<html>Not found</html>"),
        "damaged or truncated.*Download it again",
    ),
    "empty file": (
        lambda folder, _: (folder / "model.safetensors").write_bytes(b""),
        "damaged or truncated.*Download it again",
    ),
    "empty folder": (
        lambda folder, _: (folder / "model.safetensors").unlink(),
        r"no \.safetensors file",
    ),
}


@pytest.mark.parametrize(("spoil", "complaint"), SPOILED.values(), ids=SPOILED.keys())
def test_a_wrong_checkpoint_is_refused_with_its_folder_and_a_remedy(
    spoil: Spoil, complaint: str, published: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(published, tmp_path / "model")
    spoil(folder, hugging_face(SMALL, random_weights(SMALL)))
    with pytest.raises(ConfigError, match=f"(?s){folder}: .*{complaint}"):
        load_safetensors(SMALL, folder, jnp.float32)


@pytest.mark.parametrize(
    "arch",
    [replace(SMALL, num_layers=1), replace(SMALL, num_layers=3), replace(SMALL, num_kv_heads=1)],
    ids=["too few layers", "too many layers", "other heads"],
)
def test_another_architecture_is_refused(arch: Architecture, published: Path) -> None:
    with pytest.raises(ConfigError, match=rf"{published}: .*model\.architecture"):
        load_safetensors(arch, published, jnp.float32)


def test_a_folder_without_orbax_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{tmp_path}: no Orbax checkpoint"):
        orbax_folder(tmp_path)


def test_a_damaged_or_foreign_orbax_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_bytes(b"not a checkpoint")
    unreadable = "not a readable Orbax checkpoint .*Download it again"
    with pytest.raises(ConfigError, match=f"{tmp_path}: {unreadable}"):
        load_orbax(SMALL, tmp_path, jnp.float32)
    torn, foreign = tmp_path / "torn", tmp_path / "foreign"
    save_orbax(torn, kaggle(SMALL, random_weights(SMALL)))
    metadata = torn / "_METADATA"
    metadata.write_bytes(metadata.read_bytes()[:1000])
    with pytest.raises(ConfigError, match=f"{torn}: {unreadable}"):
        load_orbax(SMALL, torn, jnp.float32)
    save_orbax(foreign, {"encoder": {"w": np.zeros(3)}})
    with pytest.raises(ConfigError, match=rf"(?s){foreign}: .*lacks .*model\.architecture"):
        load_orbax(SMALL, foreign, jnp.float32)


def test_random_weights_have_the_shapes_that_are_checked() -> None:
    base = random_base(SMALL, 0, jnp.bfloat16)
    is_shape = lambda x: isinstance(x, tuple)  # noqa: E731
    assert jax.tree.map(jnp.shape, base) == shapes(SMALL)
    assert {x.dtype for x in jax.tree.leaves(base)} == {jnp.bfloat16.dtype}
    assert jax.tree.structure(base) == jax.tree.structure(shapes(SMALL), is_leaf=is_shape)
    other = random_base(SMALL, 1, jnp.bfloat16)
    assert (base["embedding"] != other["embedding"]).mean() > 0.9

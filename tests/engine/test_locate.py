"""Finding a model's files on this computer and on Kaggle; the hub has test_hugging_face_hub.py."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import kagglehub
import pytest
import requests
from kagglehub import exceptions

from reasoning_lab.config import ConfigError
from reasoning_lab.config.cache import cache_dir
from reasoning_lab.engine import gguf
from reasoning_lab.engine.locate import PYPI_GGUF, model_folder, tokenizer_file
from reasoning_lab.engine.specs import ModelSpec

HANDLE = "google/gemma-2/flax/gemma2-2b-it"


def spec(location: str, **changes: Any) -> ModelSpec:
    defaults: dict[str, Any] = {"architecture": "gemma3_tiny", "weights": "safetensors"}
    return ModelSpec(**{**defaults, **changes}, location=location)


def test_a_local_folder_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert model_folder(spec(str(tmp_path))) == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    assert model_folder(spec(f"~/{tmp_path.name}")) == tmp_path


@pytest.mark.parametrize("location", ["/no/such/folder", "gemma-3-270m", "hugginface:owner/name"])
def test_a_missing_folder_names_what_else_there_is(location: str) -> None:
    with pytest.raises(ConfigError, match=f"model.location={location}: no such folder.*hf:OWNER"):
        model_folder(spec(location))


def test_a_missing_gguf_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"model\.location=/no/such\.gguf: no such file"):
        model_folder(spec("/no/such.gguf", weights="gguf"))


def test_a_gguf_is_converted_into_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REASONING_LAB_CACHE", str(tmp_path))
    monkeypatch.setattr(gguf, "pypi_gguf", lambda: Path("the package's file"))
    monkeypatch.setattr(gguf, "convert", lambda path, cache: cache / path.name)
    assert model_folder(spec(PYPI_GGUF, weights="gguf")) == tmp_path / "the package's file"
    assert model_folder(spec("/some/where.gguf", weights="gguf")) == tmp_path / "where.gguf"


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REASONING_LAB_CACHE", raising=False)
    monkeypatch.setenv("HOME", "/people/ada")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_dir() == Path("/people/ada/.cache/reasoning_lab")
    monkeypatch.setenv("XDG_CACHE_HOME", "/scratch")
    assert cache_dir() == Path("/scratch/reasoning_lab")
    monkeypatch.setenv("REASONING_LAB_CACHE", "/fast/disk")
    assert cache_dir() == Path("/fast/disk")


def test_the_tokenizer_lies_with_the_weights_or_one_level_up_or_where_one_says(
    tmp_path: Path,
) -> None:
    folder, elsewhere = tmp_path / "variation", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    with pytest.raises(ConfigError, match=f"(?s){folder}.*{tmp_path}.*model.tokenizer"):
        tokenizer_file(spec(""), folder)
    files = [tmp_path, folder, elsewhere]
    for place in files:  # each of the first two is preferred to the one before
        file = place / "tokenizer.model"
        file.touch()
        if place != elsewhere:
            assert tokenizer_file(spec(""), folder) == file
    for said in (elsewhere, elsewhere / "tokenizer.model"):
        assert tokenizer_file(spec("", tokenizer=str(said)), folder) == file
    with pytest.raises(ConfigError, match="/nowhere"):
        tokenizer_file(spec("", tokenizer="/nowhere"), folder)


def test_kaggle_gives_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def download(handle: str) -> str:
        asked.append(handle)
        return str(tmp_path)

    monkeypatch.setattr(kagglehub, "model_download", download)
    assert model_folder(spec(f"kaggle:{HANDLE}", weights="orbax")) == tmp_path
    assert asked == [HANDLE]


def test_a_wrong_kaggle_handle_is_refused_without_asking_kaggle() -> None:
    with pytest.raises(ConfigError, match="kaggle:google/gemma-2: not a handle like google/gemma"):
        model_folder(spec("kaggle:google/gemma-2", weights="orbax"))


def test_kaggle_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real client behind a proxy that is not there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=f"kaggle:{HANDLE}: Kaggle cannot be reached.*attach"):
        model_folder(spec(f"kaggle:{HANDLE}", weights="orbax"))


def http_error(message: str) -> Exception:
    return exceptions.KaggleApiHTTPError(message, response=requests.Response())


REFUSALS: dict[str, tuple[Callable[[str], Exception], str]] = {
    "licence": (http_error, "refused.*licence.*KAGGLE_USERNAME"),
    "login": (exceptions.UnauthenticatedError, "refused.*licence.*KAGGLE_USERNAME"),
    "credentials": (exceptions.CredentialError, "refused.*licence.*KAGGLE_USERNAME"),
    "unknown": (exceptions.NotFoundError, "refused.*licence.*KAGGLE_USERNAME"),
    "notebook": (exceptions.BackendError, "refused.*licence.*KAGGLE_USERNAME"),
    "damage": (exceptions.DataCorruptionError, "the download is damaged.*Start again"),
    "network": (requests.ConnectionError, "cannot be reached.*attach"),
    "timeout": (requests.Timeout, "cannot be reached.*attach"),
}


@pytest.mark.parametrize(("error", "complaint"), REFUSALS.values(), ids=REFUSALS.keys())
def test_kaggles_refusals_are_told_with_a_remedy(
    error: Callable[[str], Exception], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(handle: str) -> str:
        raise error("because")

    monkeypatch.setattr(kagglehub, "model_download", download)
    with pytest.raises(ConfigError, match=f"(?s)model.location=kaggle:{HANDLE}: .*{complaint}"):
        model_folder(spec(f"kaggle:{HANDLE}", weights="orbax"))

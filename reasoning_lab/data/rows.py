"""Rows of files, of the Hugging Face hub and of Kaggle: which of them, and in what order."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import TypeVar

from reasoning_lab.config import ConfigError
from reasoning_lab.data.hub_rows import HubSplit
from reasoning_lab.data.row_files import KINDS, Row, RowFile, rows_or_mistake

T = TypeVar("T")
HUB, KAGGLE = "hf:", "kaggle:"
_SPLIT = re.compile(r"(?P<name>[^\[\]]+)(?:\[(?P<start>\d*):(?P<stop>\d*)\])?")


@dataclass(frozen=True)
class Slice:
    """The rows `start` to `stop` of a split, counted from 0; `stop` None: to the end."""

    split: str
    start: int = 0
    stop: int | None = None


def parse_split(text: str, key: str) -> Slice:
    """What `train`, `train[:500]`, `train[500:]` or `train[500:900]` names.

    Raises:
        ConfigError: anything else, and a slice that holds nothing.
    """
    match = _SPLIT.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"{key}={text} is no split. Write train, train[:500], train[500:] or train[500:900]: "
            "row numbers from 0; percentages and negative numbers would need the number of rows.",
            keys=[key],
        )
    start, stop = int(match["start"] or 0), int(match["stop"]) if match["stop"] else None
    if stop is not None and stop <= start:
        raise ConfigError(f"{key}={text} holds no rows: {stop} is not over {start}.", keys=[key])
    return Slice(match["name"], start, stop)


def local_folder(path: str, key: str) -> Path | None:
    """The file or folder on this computer, downloaded from Kaggle if need be; None: on the hub."""
    if path.startswith(HUB):
        return None
    return _from_kaggle(path, key) if path.startswith(KAGGLE) else Path(path)


def hub_rows(split: HubSplit, part: Slice) -> Iterator[tuple[int, Row]]:
    """The rows of a slice, each with its number in the whole split, counted from 1."""
    stop = None if part.stop is None else part.stop - part.start
    return enumerate(islice(split.rows(part.start), stop), start=part.start + 1)


def local_rows(
    files: list[RowFile], key: str, part: Slice, belongs: Callable[[Row], bool] | None = None
) -> Iterator[tuple[int, Row]]:
    """The rows of a slice, each with its number among those that belong, counted from 1."""
    rows = filter(belongs, rows_or_mistake(files, key)) if belongs else rows_or_mistake(files, key)
    return islice(enumerate(rows, start=1), part.start, part.stop)


def files_of_split(files: list[RowFile], split: str) -> list[RowFile]:
    """The files whose names begin with the split's, as train-00000-of-00001.parquet."""
    return [file for file in files if Path(file.name).name.startswith(split)]


def shuffled(items: Iterator[T], *, buffer: int, random: Random) -> Iterator[T]:
    """The items in a random order, never holding more than `buffer` of them.

    Fewer items than that are shuffled wholly; of more, each comes at most `buffer` places early.
    With a buffer of 1 the order stays.
    """
    held = list(islice(items, buffer))
    for item in items:
        place = random.randrange(buffer)
        held[place], item = item, held[place]
        yield item
    random.shuffle(held)
    yield from held


def _from_kaggle(path: str, key: str) -> Path:
    import kagglehub
    from kagglehub.exceptions import (
        BackendError,
        CredentialError,
        DataCorruptionError,
        KaggleApiHTTPError,
        NotFoundError,
        UnauthenticatedError,
    )

    parts = path.removeprefix(KAGGLE).split("/")
    length = 4 if parts[2:3] == ["versions"] else 2
    handle, inside = "/".join(parts[:length]), "/".join(parts[length:])
    where = f"{key}={path}"
    try:
        if inside.endswith(KINDS):
            return Path(kagglehub.dataset_download(handle, path=inside))
        return Path(kagglehub.dataset_download(handle)) / inside
    except ValueError as error:
        raise ConfigError(
            f"{where}: not a handle like kaggle:owner/dataset or kaggle:owner/dataset/file.csv "
            f"({error}).",
            keys=[key],
        ) from error
    except DataCorruptionError as error:
        raise ConfigError(
            f"{where}: the download is damaged ({error}). Start again.", keys=[key]
        ) from error
    except (
        *(KaggleApiHTTPError, UnauthenticatedError, CredentialError),
        *(NotFoundError, BackendError),
    ) as error:
        raise ConfigError(
            f"{where}: Kaggle refused ({error}).\n"
            "  Check the name, and set KAGGLE_USERNAME and KAGGLE_KEY (or KAGGLE_API_TOKEN).",
            keys=[key],
        ) from error
    except OSError as error:
        raise ConfigError(
            f"{where}: Kaggle cannot be reached ({type(error).__name__}). On Kaggle, attach the "
            f"data set and set {key} to its folder under /kaggle/input.",
            keys=[key],
        ) from error

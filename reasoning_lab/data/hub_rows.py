"""Rows of data sets on the Hugging Face hub, streamed: only what is asked for crosses the network.

`datasets` says which files a subset and a split are; the files are read by range requests, so that
a slice far inside a big Parquet data set costs no more than one at its beginning.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

from reasoning_lab.config import ConfigError
from reasoning_lab.data.row_cache import RowCache, cache_folder
from reasoning_lab.data.row_files import KINDS, Row, RowFile, rows_of

# Where the hub keeps Parquet copies of data sets, those that only a program can read among them.
_CONVERTED = "refs/convert/parquet"


@dataclass(frozen=True)
class HubSplit:
    """One split of a data set.

    name: owner/name, or owner/name/path/of/one/file.
    key: the config key of the source, such as data.sources.mine, for messages.
    """

    name: str
    subset: str | None
    split: str
    revision: str | None
    key: str

    def rows(self, start: int) -> Iterator[Row]:
        """The rows from number `start`, counted from 0; those that were read before from disk.

        Raises:
            ConfigError: no such data set, file, subset or split; consent or a login is missing; or
                the hub cannot be reached and the rows are not on disk.
        """
        folder = cache_folder(
            "hub", self.name, self.subset or "default", self.split, self.revision or "main"
        )
        cache = RowCache(folder)

        def stream(first: int) -> Iterator[Row]:
            files = [RowFile(url, _Opener(url)) for url in urls]
            try:
                yield from rows_of(files, start=first)
            except Exception as error:
                raise self._unreadable(
                    error, f"If the data set was changed since it was first read, remove {folder}."
                ) from error

        urls = cache.where(self._resolve)
        return cache.rows(start, stream)

    @property
    def _repo(self) -> str:
        return "/".join(self.name.split("/")[:2])

    @property
    def _file(self) -> str:
        return "/".join(self.name.split("/")[2:])

    def _resolve(self) -> Sequence[str]:
        """The addresses of the split's files, at the commit that is there now."""
        try:
            urls = self._one_file() if self._file else self._of_split()
        except ConfigError:
            raise
        except Exception as error:  # datasets, huggingface_hub and httpx have one each
            raise self._unreadable(error) from error
        others = sorted({url for url in urls if not url.endswith(KINDS)})
        if others:
            raise ConfigError(
                f"{self.key}.path=hf:{self.name}: its files are not {', '.join(KINDS)} but like "
                f"{others[0]}. Convert them, and give the local path.",
                keys=[f"{self.key}.path"],
            )
        return urls

    def _one_file(self) -> list[str]:
        from huggingface_hub import HfApi

        info = HfApi().dataset_info(self._repo, revision=self.revision)
        if self._file not in {sibling.rfilename for sibling in info.siblings or []}:
            raise self._mistake("path", f"hf:{self.name}", f"{self._repo} has no such file.")
        return [f"hf://datasets/{self._repo}@{info.sha}/{self._file}"]

    def _of_split(self) -> list[str]:
        from datasets import load_dataset_builder
        from huggingface_hub import HfApi

        # Asked first, since `datasets` tries for half a minute where there is no network.
        commit = HfApi().dataset_info(self._repo, revision=self.revision).sha
        try:
            builder = load_dataset_builder(self._repo, self.subset, revision=commit)
        except RuntimeError as error:
            if "scripts are no longer supported" not in str(error):
                raise
            return self._converted()
        splits = dict(builder.config.data_files or {})
        if self.split not in splits:
            raise self._no_split(splits)
        return [str(url) for url in splits[self.split]]

    def _converted(self) -> list[str]:
        """The files of the hub's own Parquet copy, which lie at subset/split/0000.parquet."""
        from huggingface_hub import HfApi
        from huggingface_hub.errors import RevisionNotFoundError

        try:
            info = HfApi().dataset_info(self._repo, revision=_CONVERTED)
        except RevisionNotFoundError as error:
            raise self._mistake(
                *("path", f"hf:{self.name}"),
                "only a program of its authors can read this data set, and the hub has no Parquet "
                "copy of it. Name one of its files, hf:owner/name/path/of/the/file.json, or "
                "another copy of the data set.",
            ) from error
        paths = [one.rfilename for one in info.siblings or [] if one.rfilename.endswith(".parquet")]
        parts = [path.split("/") for path in paths if path.count("/") == 2]
        subsets = sorted({subset for subset, _, _ in parts})
        subset = subsets[0] if self.subset is None and len(subsets) == 1 else self.subset
        if subset not in subsets:
            raise self._mistake(
                *("subset", self.subset or "null"), f"hf:{self.name} has {', '.join(subsets)}."
            )
        splits = sorted({split for one, split, _ in parts if one == subset})
        if self.split not in splits:
            raise self._no_split(splits)
        chosen = sorted(path for path in paths if path.startswith(f"{subset}/{self.split}/"))
        return [f"hf://datasets/{self._repo}@{info.sha}/{path}" for path in chosen]

    def _no_split(self, splits: Sequence[str] | dict[str, object]) -> ConfigError:
        return self._mistake(
            "split", self.split, f"hf:{self.name} has no such split; it has {', '.join(splits)}."
        )

    def _mistake(self, field: str, value: str, told: str) -> ConfigError:
        return ConfigError(f"{self.key}.{field}={value}: {told}", keys=[f"{self.key}.{field}"])

    def _unreadable(self, error: Exception, remedy: str = "") -> ConfigError:
        """What went wrong with the hub, in a sentence with its remedy."""
        import httpx

        causes = _causes(error)
        words = " ".join(f"{type(one).__name__} {one}" for one in causes)
        where, page = f"hf:{self.name}", f"https://huggingface.co/datasets/{self._repo}"
        if "HFValidationError" in words:
            return self._mistake("path", where, "not a hub id like openai/gsm8k.")
        if any(sign in words for sign in ("GatedRepoError", "is a gated dataset", "403 Forbidden")):
            return self._mistake(
                *("path", where),
                f"this data set asks for your consent. Accept its terms at {page}, and log in "
                "(`hf auth login`, or HF_TOKEN).",
            )
        if "BuilderConfig" in words or "Config name is missing" in words:  # and lists what there is
            return self._mistake("subset", self.subset or "null", str(error))
        if "RevisionNotFound" in words or "doesn't exist for dataset" in words:
            return self._mistake("revision", str(self.revision), f"{where} has no such revision.")
        cut_off = any(isinstance(one, ConnectionError | httpx.TransportError) for one in causes)
        if not cut_off and any(type(one).__name__ in _ABSENT for one in causes):
            return self._mistake(
                *("path", where),
                "no such data set, or your token may not see it. Check the name, and log in with "
                f"`hf auth login` or HF_TOKEN if it is private or gated. {remedy}".rstrip(),
            )
        if not cut_off and isinstance(error, ValueError) and not isinstance(error, OSError):
            return self._mistake("path", where, f"cannot be read: {error}")
        return self._mistake(
            *("path", where),
            f"the hub cannot be reached and the rows are not in the local cache "
            f"({type(error).__name__}: {error}). Without a network, download the data set "
            f"and give the local path. {remedy}".rstrip(),
        )


_ABSENT = {
    *("DatasetNotFoundError", "RepositoryNotFoundError", "EntryNotFoundError"),
    *("RemoteEntryNotFoundError", "FileNotFoundError", "EmptyDatasetError"),
    "DataFilesNotFoundError",
}


@dataclass(frozen=True)
class _Opener:
    url: str

    def __call__(self) -> BinaryIO:
        from huggingface_hub import HfFileSystem

        return cast(BinaryIO, HfFileSystem().open(self.url, "rb", block_size=1 << 20))


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found

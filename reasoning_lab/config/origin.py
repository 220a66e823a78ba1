"""Where a key of the composed experiment was set."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.types import RunMode
from omegaconf import OmegaConf


class Origin:
    """Call it with a dotted key: "on the command line", "in conf/lora/qv_r16.yaml", ..."""

    def __init__(
        self,
        loader: ConfigLoader,
        conf_dir: Path,
        root: str,
        overrides: Sequence[str],
        said: str,
    ) -> None:
        self._loader = loader
        self._conf_dir = conf_dir
        self._root = root
        self._overrides = list(overrides)
        self._said = said

    def __call__(self, key: str) -> str:
        composed = self._loader.compute_defaults_list(self._root, self._overrides, RunMode.RUN)
        folders = [self._conf_dir]
        for override in composed.config_overrides:
            if override.key_or_group == "hydra.searchpath":  # launch.py --config-dir
                folders += [Path(str(path).removeprefix("file://")) for path in override.value()]
            said_key = f"{override.key_or_group}."
            if said_key.startswith(f"{key}.") or f"{key}.".startswith(said_key):
                return self._said
        for default in reversed(composed.defaults):  # later files win
            for folder in folders:
                file = folder / f"{default.config_path}.yaml"
                if file.exists() and _sets(file, key, default.package or ""):
                    return f"in {file.relative_to(folder.parent)}"
        return "its default"


def _sets(file: Path, key: str, package: str) -> bool:
    """Whether the YAML file, placed at `package`, has the dotted key."""
    prefix = f"{package}." if package else ""
    if not key.startswith(prefix):
        return False
    node: Any = OmegaConf.to_container(OmegaConf.load(file))
    for name in key.removeprefix(prefix).split("."):
        if not isinstance(node, Mapping) or name not in node:
            return False
        node = node[name]
    return True

"""Hydra's part: conf/*.yaml, the specs' Python defaults and the overrides become one spec."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from reasoning_lab.config import axes
from reasoning_lab.config.axes import Axis
from reasoning_lab.config.build import build, defaults_of
from reasoning_lab.config.hydra_mistakes import (
    choices,
    first_line,
    wrong_files,
    wrong_overrides,
)
from reasoning_lab.config.mistakes import in_one_message
from reasoning_lab.config.origin import Origin
from reasoning_lab.config.spec import ConfigError

CONF_DIR = Path(__file__).parents[2] / "conf"
ROOT = "config"
_FOR_OTHERS = ("sweeps/wandb",)  # YAML files that Hydra is not to read


def register(specs: Mapping[str, type]) -> None:
    """Put each spec's Python defaults into Hydra's ConfigStore under "group/name".

    Hydra refuses to override a key that is not in the composed config. With the defaults there,
    every key can be overridden without a `+`, and YAML holds differences only.
    """
    for path, cls in specs.items():
        group, _, name = path.rpartition("/")
        ConfigStore.instance().store(name, defaults_of(cls), group=group or None)


def let_yaml_ask(questions: Mapping[str, Callable[..., Any]]) -> None:
    """Give YAML files values that are found out when they are read, as in `fsdp: ${name:}`."""
    for name, answer in questions.items():
        OmegaConf.register_new_resolver(name, answer, replace=True)


def compose(overrides: Sequence[str], said: str, only: str | None = None) -> Any:
    """The spec that conf/config.yaml and the overrides describe, or what stands under a key of it.

    `said` tells where the overrides come from, as in "on the command line". With `only`, the rest
    is not validated.

    Raises:
        ConfigError: any wrong key, type, choice or combination.
    """
    with _hydra() as loader:
        config = _compose(loader, overrides, said)
        origin = Origin(loader, CONF_DIR, ROOT, overrides, said)
        try:
            mapping = OmegaConf.to_container(config, resolve=True)
            assert isinstance(mapping, dict)
            if only is not None:
                return build({only: mapping[only]}, origin)[only]
            return build(mapping, origin)
        except InterpolationResolutionError as error:
            key = str(error.full_key)
            raise ConfigError(f"{key} ({origin(key)}): {first_line(error)}") from error


def compose_config(overrides: Sequence[str], said: str) -> DictConfig:
    """What Hydra composes, not yet validated.

    Raises:
        ConfigError: an unknown key or choice, or a file that cannot be read.
    """
    with _hydra() as loader:
        return _compose(loader, overrides, said)


def split_sweep(overrides: Sequence[str], said: str) -> tuple[list[str], dict[str, Axis]]:
    """What all runs of a sweep share, and its axes by key: those of a file in sweeps/ and those of
    the overrides, which win.

    Raises:
        ConfigError: a mistake in what all runs share.
    """
    with _hydra() as loader:
        shared, _ = axes.split(loader, overrides)
        _compose(loader, shared, said)
        composed = hydra.compose(ROOT, overrides=shared, return_hydra_config=True)
        params = composed.hydra.sweeper.get("params") or {}
        return axes.split(loader, [*(f"{k}={v}" for k, v in params.items()), *overrides])


def groups_and_choices(overrides: Sequence[str], said: str) -> dict[str, tuple[str, list[str]]]:
    """Config group -> (what is chosen in it, what can be chosen)."""
    with _hydra() as loader:
        _compose(loader, overrides, said)
        composed = hydra.compose(ROOT, overrides=list(overrides), return_hydra_config=True)
        chosen = {str(k): str(v) for k, v in reversed(composed.hydra.runtime.choices.items())}
        groups = [group for group in chosen if "@" not in group and not group.startswith("hydra/")]
        nested = [f"{group}/{name}" for group in groups for name in loader.list_groups(group)]
        names = [group for group in [*groups, *nested] if group not in _FOR_OTHERS]
        return {group: (chosen.get(group, ""), choices(loader, group)) for group in names}


@contextmanager
def _hydra() -> Iterator[ConfigLoader]:
    if not (CONF_DIR / f"{ROOT}.yaml").exists():
        raise ConfigError(f"{CONF_DIR} is missing: use a checkout of the repository.")
    instance = GlobalHydra.instance()
    around, instance.hydra = instance.hydra, None  # a sweep composes while Hydra runs
    try:
        with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            assert instance.hydra is not None
            yield instance.hydra.config_loader
    finally:
        instance.hydra = around


def _compose(loader: ConfigLoader, overrides: Sequence[str], said: str) -> DictConfig:
    """The composed config without its `hydra` node; Hydra's errors in plain language."""
    try:
        return hydra.compose(ROOT, overrides=list(overrides))
    # Hydra itself raises a bare ValueError for model=4.
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
        mistakes: list[str] = []
        if not isinstance(error, yaml.YAMLError):
            mistakes = wrong_overrides(loader, ROOT, overrides, said)
        mistakes = mistakes or wrong_files(CONF_DIR, loader, error)
        raise ConfigError(in_one_message(mistakes)) from error

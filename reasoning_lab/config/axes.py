"""Hydra's syntax for sweeps (lora.rank=8,16 or interval(0,1)) as plain values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException

from reasoning_lab.config.hydra_mistakes import SCHEMA_SUFFIX


@dataclass(frozen=True)
class Axis:
    """A key and what it goes through: a list of values as typed, or all between two numbers.

    low, high: ends of an interval; None where there is a list. log: drawn on a logarithmic scale.
    """

    key: str
    values: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    log: bool = False

    @property
    def ends(self) -> tuple[str, ...]:
        """Values that stand for all of them where a list is too long or there is none."""
        return self.values or (f"{self.low:g}", f"{self.high:g}")


def split(loader: ConfigLoader, overrides: Sequence[str]) -> tuple[list[str], dict[str, Axis]]:
    """Overrides that all runs share, and axes by key; the later of two of one key holds.

    What cannot be read counts as shared: composing it will say what is wrong.
    """
    parser = OverridesParser.create(config_loader=loader)
    shared: dict[str, str] = {}
    axes: dict[str, Axis] = {}
    for text in overrides:
        try:
            [override] = parser.parse_overrides([text])
        except HydraException:
            shared[text] = text
            continue
        key = override.get_key_element()
        shared.pop(key, None)
        axes.pop(key, None)
        if override.is_sweep_override():
            axes[key] = _axis(key, override)
        else:
            shared[key] = text
    return list(shared.values()), axes


def value_of(override: str) -> Any:
    """The value that an override such as "run_dir='a b'" gives its key."""
    [parsed] = OverridesParser.create().parse_overrides([override])
    return parsed.value()


def _axis(key: str, override: Override) -> Axis:
    value = override.value()
    if isinstance(value, IntervalSweep):
        assert value.start is not None
        assert value.end is not None
        return Axis(key, low=value.start, high=value.end, log="log" in value.tags)
    # A glob finds the nodes that hold the specs' defaults, too.
    values = [text for text in override.sweep_string_iterator() if _can_be_chosen(text)]
    return Axis(key, values=tuple(values))


def _can_be_chosen(text: str) -> bool:
    return not text.endswith(SCHEMA_SUFFIX)

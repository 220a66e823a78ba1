"""Names of settings and keys as the page shows them."""

from collections.abc import Mapping, Sequence
from html import escape

from reasoning_lab.compare.comparison import Axis, Setting


def short_names(axes: Sequence[Axis]) -> dict[str, str]:
    """By axis: the last part of its name, `rank` for `lora.rank`, where no other axis has it."""
    last = [axis.name.rpartition(".")[2] for axis in axes]
    return {
        axis.name: short if last.count(short) == 1 else axis.name
        for axis, short in zip(axes, last, strict=True)
    }


def short_label(setting: Setting, names: Mapping[str, str]) -> str:
    """Such as "rank 8 · beta 0.02"; the setting's own label where that is the name of a run."""
    if is_run_name(setting):
        return setting.label
    parts = [f"{names.get(axis, axis)} {value}" for axis, value in setting.values.items()]
    return " · ".join(parts) or setting.label


def is_run_name(setting: Setting) -> bool:
    """Whether the setting is called by its run, as runs without a sweep are."""
    return any(setting.label == run.name for run in setting.runs)


def for_plotly(text: str, limit: int = 90) -> str:
    """A text of a run as a chart may show it: plotly reads a little HTML, so none is left in it."""
    return escape(text if len(text) <= limit else f"{text[: limit - 1]}…", quote=False)

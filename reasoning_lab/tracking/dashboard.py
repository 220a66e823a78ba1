"""A saved W&B workspace that compares the runs of one sweep, made from code.

`python -m reasoning_lab compare` makes such a comparison without an account.
"""

import re
from collections.abc import Sequence
from typing import Any

import wandb
import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

from reasoning_lab.config import ConfigError, RunError
from reasoning_lab.tracking import api_key
from reasoning_lab.tracking.environment import quiet_wandb
from reasoning_lab.tracking.flat_config import backend_key
from reasoning_lab.tracking.specs import TrackingSpec

_BESIDE_IT = ("reward/total", "train/loss", "train/kl", "completion/length")
_TABLES = ("samples", "rollouts")
_MOST_RUNS = 100  # W&B draws 10 unless told otherwise
_SECONDS_TO_ANSWER = 20


def dashboard(axes: Sequence[str], metric: str, group: str, spec: TrackingSpec) -> str:
    """Save a workspace that shows the runs of a group, and return its address.

    Args:
        axes: keys of the config that differ between the runs, such as "lora.rank".
        metric: what they are judged by, such as "eval/score".
        group: the W&B group of the runs, which is the name of their sweep.
        spec: the project and entity they were sent to.

    Raises:
        ConfigError: there is no API key, or it cannot be one.
        RunError: the server does not answer, or refuses.
    """
    with quiet_wandb():
        if not api_key.is_there():
            raise ConfigError(
                "A W&B dashboard needs an API key, and there is none. Run `wandb login` or set "
                "WANDB_API_KEY. Without an account: python -m reasoning_lab compare."
            )
        try:
            entity = spec.entity or wandb.Api(timeout=_SECONDS_TO_ANSWER).default_entity
            saved = workspace(axes, metric, group, entity=entity, project=spec.project).save()
            return str(saved.url)
        except (wandb.errors.Error, OSError, ValueError) as trouble:
            reason = str(trouble).partition("\n")[0]
            raise RunError(
                f"The W&B server {wandb.setup().settings.base_url} did not save a workspace in "
                f"tracking.project={spec.project} ({reason}). Check the key, tracking.entity and "
                "the network. Without a server: python -m reasoning_lab compare."
            ) from trouble


def workspace(
    axes: Sequence[str], metric: str, group: str, *, entity: str, project: str
) -> ws.Workspace:
    """The workspace itself; makes no request. Arguments as in `dashboard`."""
    score = wr.ParallelCoordinatesPlotColumn(metric=wr.SummaryMetric(metric), display_name=metric)
    columns = [_AxisColumn(metric=wr.Config(axis), display_name=axis) for axis in axes]
    of_the_sweep = ws.Section(
        name=f"{metric} in {group}",
        is_open=True,
        panels=[
            wr.ParallelCoordinatesPlot(columns=[*columns, score]),
            wr.ParameterImportancePlot(with_respect_to=metric),
            wr.RunComparer(diff_only="split"),
        ],
    )
    tables = [wr.WeavePanelSummaryTable(table_name=name) for name in _TABLES]
    by_axis = [
        ws.Section(name=f"by {axis}", is_open=True, panels=_curves_by(axis, metric))
        for axis in axes
    ]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=re.sub(r"[^\w.-]+", " ", f"sweep {group}", flags=re.ASCII),  # others are "emojis"
        sections=[of_the_sweep, *by_axis, ws.Section(name="samples", is_open=True, panels=tables)],
        settings=ws.WorkspaceSettings(max_runs=_MOST_RUNS),
        runset_settings=ws.RunsetSettings(
            filters=f"Metric('Group') == {_literal(group)}",
            pinned_columns=[f"summary:{metric}"],
        ),
    )


def _curves_by(axis: str, metric: str) -> list[wr.LinePlot]:
    """Curves of means over the runs of each value, in a band from the lowest to the highest."""
    return [
        wr.LinePlot(
            title=f"{name} by {axis}",
            y=[name],
            groupby=backend_key(axis),
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
            max_runs_to_show=_MOST_RUNS,
        )
        for name in dict.fromkeys((metric, *_BESIDE_IT))
    ]


class _AxisColumn(wr.ParallelCoordinatesPlotColumn):  # type: ignore[misc, unused-ignore]
    """A column for a flat key of the config; the base class would take its dots for nesting."""

    def _to_model(self) -> Any:
        model = super()._to_model()
        model.accessor = f"config:{backend_key(self.metric.name)}"
        return model


def _literal(text: str) -> str:
    """The text as a string in a filter, escaped: wandb_workspaces rewrites "=" and "<" in it."""
    return "'" + "".join(c if c.isalnum() else f"\\U{ord(c):08x}" for c in text) + "'"

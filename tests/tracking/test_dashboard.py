import json
import warnings
from typing import Any

import pytest
from fake_server import FakeServer

from reasoning_lab.config import ConfigError, RunError
from reasoning_lab.tracking.specs import TrackingSpec

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # validators as in pydantic 1
    from reasoning_lab.tracking import dashboard as module
    from reasoning_lab.tracking.dashboard import dashboard, workspace

SPEC = TrackingSpec(wandb=True, project="lab")
AXES = ("lora.rank", "stage.beta", "seed")


def spec_of(group: str = "grid") -> dict[str, Any]:
    """What is sent to the server of a workspace."""
    made = workspace(AXES, "eval/score", group, entity="me", project="lab")
    view: dict[str, Any] = json.loads(
        made._to_model().spec.model_dump_json(by_alias=True, exclude_none=True)
    )
    return view["section"]


def panels(view: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    sections = view["panelBankConfig"]["sections"]
    return [p["config"] for section in sections for p in section["panels"] if p["viewType"] == kind]


def test_curves_are_grouped_by_each_axis_where_the_flat_keys_are() -> None:
    curves = panels(spec_of(), "Run History Line Plot")
    grouped = {(config["metrics"][0], config["groupBy"]) for config in curves}
    assert len(grouped) == len(curves)
    for axis in AXES:
        assert ("eval/score", f"{axis}.value") in grouped
        assert ("train/kl", f"{axis}.value") in grouped


def test_axes_and_score_are_parallel_coordinates() -> None:
    [plot] = panels(spec_of(), "Parallel Coordinates Plot")
    assert [column["accessor"] for column in plot["columns"]] == [
        "config:lora.rank.value",
        "config:stage.beta.value",
        "config:seed.value",
        "summary:eval/score",
    ]


def test_importance_comparer_and_tables_are_there() -> None:
    view = spec_of()
    [importance] = panels(view, "Parameter Importance")
    assert importance["targetKey"] == "eval/score"
    assert len(panels(view, "Run Comparer")) == 1
    tables = json.dumps(panels(view, "Weave"))
    assert '"samples"' in tables
    assert '"rollouts"' in tables


@pytest.mark.parametrize("group", ["grid", "20261122-081500-lora.rank=4,8", "it's <odd> \\ ü"])
def test_only_runs_of_the_group_are_shown(group: str) -> None:
    [runs] = spec_of(group)["runSets"]
    [only] = runs["filters"]["filters"]
    assert only["key"] == {"section": "run", "name": "group"}
    assert (only["op"], only["value"]) == ("=", group)


def test_it_is_saved_and_its_address_returned(server: FakeServer) -> None:
    address = dashboard(AXES, "eval/score", "grid", SPEC)
    [view] = server.views
    assert (view["entityName"], view["projectName"]) == ("me", "lab")
    assert view["displayName"] == "sweep grid"
    assert json.loads(view["spec"])["section"].keys() == spec_of().keys()
    name = view["name"].removeprefix("nw-").removesuffix("-v")
    assert address == f"{server.url}/me/lab?nw={name}"


def test_without_a_key_it_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"wandb login.*reasoning_lab compare"):
        dashboard(AXES, "eval/score", "grid", SPEC)


@pytest.mark.parametrize("entity", [None, "team"])
def test_a_server_that_refuses_is_named(server: FakeServer, entity: str | None) -> None:
    server.refuses = True
    spec = TrackingSpec(wandb=True, entity=entity)
    with pytest.raises(RunError, match=rf"{server.url} did not save.*reasoning_lab compare"):
        dashboard(AXES, "eval/score", "grid", spec)


def test_a_server_that_is_down_is_named(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SECONDS_TO_ANSWER", 1)
    server.stop()
    with pytest.raises(RunError, match=rf"{server.url} did not save.*tracking\.entity"):
        dashboard(AXES, "eval/score", "grid", SPEC)

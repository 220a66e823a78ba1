"""In which keys runs differ, and which of them make a setting; seeds never do."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reasoning_lab.compare.comparison import Axis, ComparedRun

Values = dict[str, dict[str, str]]  # by run, then by axis

_SEED = "seed"
# Each warm start is a run of its own; machines, and how much is recorded, change no weights. These
# keys count only if without them runs of one seed would pass for the same.
_LAST_RESORT = re.compile(
    r"init_from$|hardware(?!\.param_dtype)|evaluation\.(baseline|few_shot|samples|pass_at|temperature)$"
    r"|stage\.(checkpoint_every|checkpoints_to_keep|rollouts_every|reward_timeout)$"
)
_MISSING = "–"
_NAMED_BY_MEMBERS = {"data": "data.sources.", "reward": "reward."}
_NAMED_BY_KEY = {"model": "model.architecture"}
_SHOWN_KEYS = 2  # of a group whose keys vary together; the first alone tells its values apart


def find_axes(runs: Sequence[ComparedRun]) -> tuple[tuple[Axis, ...], Values]:
    """The axes along which the runs vary, and where each run stands.

    What a sweep has set decides, where that accounts for all differences; otherwise the
    configurations do. Keys that tell the same runs apart cannot be told apart themselves, and are
    one axis.
    """
    places = _from_overrides(runs) or _from_configs(runs)
    names = dict.fromkeys(name for values in places.values() for name in values)
    axes = []
    for name in names:
        found = dict.fromkeys(values.get(name, _MISSING) for values in places.values())
        if len(found) > 1:
            axes.append(Axis(name, tuple(sorted(found, key=_in_order(found)))))
    varying = [axis.name for axis in axes]
    return tuple(axes), {
        run: {name: values.get(name, _MISSING) for name in varying}
        for run, values in places.items()
    }


def differences(runs: Sequence[ComparedRun]) -> dict[str, dict[str, Any]]:
    """Keys in which the runs that have a configuration differ, seeds included; by run."""
    told = [run for run in runs if run.config]
    keys = dict.fromkeys(key for run in told for key in run.config)
    return {
        key: {run.name: run.config.get(key) for run in told}
        for key in keys
        if len({_text(run.config.get(key)) for run in told}) > 1
    }


def _in_order(values: Mapping[str, Any]) -> Callable[[str], Any]:
    """How to sort values: as numbers if all are, otherwise as they came."""
    try:
        numbers = {value: float(value) for value in values}
    except ValueError:
        numbers = {value: float(place) for place, value in enumerate(values)}
    return numbers.__getitem__


def _from_overrides(runs: Sequence[ComparedRun]) -> Values | None:
    """None unless all runs come from sweeps that set the same keys, and nothing else differs."""
    keys = {frozenset(run.overrides) for run in runs}
    if len(keys) > 1 or not next(iter(keys)):
        return None
    places = {
        run.name: {key: value for key, value in run.overrides.items() if key != _SEED}
        for run in runs
    }
    sweeps = {run.folder.path.parent for run in runs}
    if len(sweeps) > 1 and _differ_within(runs, places):
        return None
    return places


def _differ_within(runs: Sequence[ComparedRun], places: Values) -> bool:
    """Whether runs that stand in one place have keys of different values."""
    told = [run for run in runs if run.config]
    for place in {_text(places[run.name]) for run in told}:
        here = [run for run in told if _text(places[run.name]) == place]
        if _differing(here):
            return True
    return False


def _from_configs(runs: Sequence[ComparedRun]) -> Values:
    told = [run for run in runs if run.config]
    keys = _differing(told)
    likely = [key for key in keys if not _LAST_RESORT.match(key)]
    if _tell_apart(told, likely) == _tell_apart(told, keys):
        keys = likely
    by_partition: dict[tuple[int, ...], list[str]] = {}
    for key in keys:
        by_partition.setdefault(_partition(told, key), []).append(key)
    places: Values = {run.name: _without_config(run) for run in runs}
    for confounded in by_partition.values():
        name = _axis_name(confounded)
        for run, value in zip(told, _axis_values(told, confounded), strict=True):
            places[run.name][name] = value
    return places


def _without_config(run: ComparedRun) -> dict[str, str]:
    """What is known of a run's place before its config.yaml is: what its sweep will set."""
    if run.config:
        return {}
    set_by_sweep = {key: value for key, value in run.overrides.items() if key != _SEED}
    return set_by_sweep or {"config.yaml": "unreadable"}


def _differing(runs: Sequence[ComparedRun]) -> list[str]:
    """Keys and whole groups in which runs differ, but for the seed.

    A group whose keys depend on what was chosen there, such as two sets of data, differs as a
    whole. In the others a key that one run lacks is a key its version of the lab did not have.
    """
    found = []
    keys_of: dict[str, dict[str, None]] = {}
    for run in runs:
        for key in run.config:
            keys_of.setdefault(key.split(".")[0], {})[key] = None
    kinds = {run.config.get("stage") for run in runs}
    for group, keys in keys_of.items():
        chosen = [frozenset(key for key in keys if key in run.config) for run in runs]
        by_choice = group in _NAMED_BY_MEMBERS or (group == "stage" and len(kinds) > 1)
        if len(set(chosen)) > 1 and by_choice:
            found.append(group)
            continue
        found += [key for key in keys if key != _SEED and _differs_everywhere(runs, "", key)]
    return found


def _tell_apart(runs: Sequence[ComparedRun], keys: Sequence[str]) -> int:
    """How many different runs there are by these keys and the seed."""
    return len({(run.seed, *(_part(run, key) for key in keys)) for run in runs})


def _partition(runs: Sequence[ComparedRun], key: str) -> tuple[int, ...]:
    """Which runs a key tells apart: of each run, the first run with the same value."""
    parts = [_part(run, key) for run in runs]
    return tuple(parts.index(part) for part in parts)


def _part(run: ComparedRun, key: str) -> str:
    """The value of a key or of a whole group, as text."""
    inside = {name: v for name, v in run.config.items() if name.startswith(f"{key}.")}
    return _text([run.config.get(key), inside])


def _axis_name(keys: Sequence[str]) -> str:
    """The key; of several keys their groups."""
    if len(keys) == 1:
        return keys[0]
    return "+".join(dict.fromkeys(key.split(".")[0] for key in keys))


def _axis_values(runs: Sequence[ComparedRun], keys: Sequence[str]) -> list[str]:
    """What to call the values of confounded keys, for each run: short, and distinct."""
    if len(keys) == 1 and keys[0] in runs[0].config and "stage" not in keys:
        return [_shown(run.config[keys[0]]) for run in runs]
    groups = list(dict.fromkeys(key.split(".")[0] for key in keys))
    members = {group: [key for key in keys if key.split(".")[0] == group] for group in groups}
    values = [
        ", ".join(_group_value(runs, run, group, members[group]) for group in groups)
        for run in runs
    ]
    parts = [_text([_part(run, key) for key in keys]) for run in runs]
    return _made_distinct(values, parts)


def _group_value(
    runs: Sequence[ComparedRun], run: ComparedRun, group: str, keys: Sequence[str]
) -> str:
    if group in _NAMED_BY_MEMBERS:
        prefix = _NAMED_BY_MEMBERS[group]
        if len({_member_names(one, prefix) for one in runs}) > 1:
            return _member_names(run, prefix)
        if group in keys:
            keys = [key for key in run.config if _differs_everywhere(runs, f"{group}.", key)]
    elif group in keys:
        return _shown(run.config.get(group))
    if _NAMED_BY_KEY.get(group) in keys:
        return _shown(run.config[_NAMED_BY_KEY[group]])
    shown = keys[:_SHOWN_KEYS]
    return " ".join(
        f"{key.removeprefix(f'{group}.')}={_shown(run.config.get(key))}" for key in shown
    )


def _differs_everywhere(runs: Sequence[ComparedRun], prefix: str, key: str) -> bool:
    """Whether all runs have the key, and not all the same value."""
    if not key.startswith(prefix) or not all(key in run.config for run in runs):
        return False
    return len({_text(run.config[key]) for run in runs}) > 1


def _member_names(run: ComparedRun, prefix: str) -> str:
    """The sources or rewards of a run: "gsm8k+mbpp"."""
    inside = (key.removeprefix(prefix) for key in run.config if key.startswith(prefix))
    return "+".join(dict.fromkeys(key.split(".")[0] for key in inside)) or "none"


def _made_distinct(values: Sequence[str], parts: Sequence[str]) -> list[str]:
    """Values numbered where different parts would be called the same."""
    distinct = {}
    for value in dict.fromkeys(values):
        named = dict.fromkeys(part for part, one in zip(parts, values, strict=True) if one == value)
        for number, part in enumerate(named, start=1):
            distinct[part] = value if number == 1 else f"{value} ({number})"
    return [distinct[part] for part in parts]


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "+".join(map(str, value))
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)

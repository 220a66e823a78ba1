"""Every YAML file composes and validates, and every mistake is explained in one message."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from pydantic.dataclasses import is_pydantic_dataclass

from reasoning_lab.config import ConfigError, composition
from reasoning_lab.config.build import defaults_of
from reasoning_lab.config.mistakes import shown
from reasoning_lab.data import sources
from reasoning_lab.engine.specs import LoraSpec
from reasoning_lab.experiment import (
    Experiment,
    compose,
    compose_data,
    load,
    to_yaml,
)
from reasoning_lab.stages.specs import GRPOSpec
from reasoning_lab.sweeps.plan import grid, read_request

REPOSITORY = Path(__file__).parents[1]
CONF = REPOSITORY / "conf"
SWEEPS = sorted((REPOSITORY / "sweeps").glob("*.yaml"))  # those for wandb: tests/tracking/
FILES = sorted([*CONF.rglob("*.yaml"), *SWEEPS])

NEEDS = {  # what a variant cannot do without on top of the default experiment
    "data/table": ["data.sources.table.path=problems.jsonl"],
    "reward/function": ["reward.function.path=my_package.brevity"],
    "hardware/tpu_v5e8": ["stage.batch_tokens=2048"],
}


def overrides_for(file: Path) -> list[str]:
    """The command line that uses the file."""
    if file in SWEEPS:
        return [f"sweeps={file.stem}"]
    variant = str(file.relative_to(CONF).with_suffix(""))
    if variant == "config":
        return []
    group, _, choice = variant.rpartition("/")
    stage = ["stage=grpo"] if group == "reward" else []
    return [*stage, f"{group}={choice}", *NEEDS.get(variant, [])]


def test_every_file_composes_and_validates() -> None:
    validated = [file for file in FILES if isinstance(compose(overrides_for(file)), Experiment)]
    assert len(validated) == len(FILES) > 0


def leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict) and node:
        for name, value in node.items():
            yield from leaves(value, f"{key}.{name}".lstrip("."))
    else:
        yield key, node


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_a_file_states_only_what_it_changes(file: Path) -> None:
    content = yaml.safe_load(file.read_text("utf-8"))
    defaults = content.pop("defaults", [])
    content.pop("hydra", None)
    group = "" if file in SWEEPS else str(file.parent.relative_to(CONF)).replace(".", "")
    if group == "experiment" or file in SWEEPS:  # what it would be with its choices alone
        others = [{"experiment": other} for other in defaults if isinstance(other, str)]
        lines = [*others, *(line for line in defaults if isinstance(line, dict))]
        chosen = {k.removeprefix("override /"): v for line in lines for k, v in line.items()}
        wanted = [w for g, choice in chosen.items() for w in NEEDS.get(f"{g}/{choice}", [])]
        batch = "experiment" in chosen or "stage" in chosen  # says its own
        needed = [w for w in wanted if not (batch and w.startswith("stage.batch_tokens"))]
        without = compose([*(f"{g}={choice}" for g, choice in chosen.items()), *needed])
        stated = leaves(content)
    else:  # the specs' defaults
        without = None
        stated = leaves({group: content} if group else content) if content else iter(())
    composed = compose(overrides_for(file))
    for key, value in stated:
        *parents, name = key.split(".")
        owner: Any = without or composed
        for parent in parents:
            owner = owner[parent] if isinstance(owner, dict) else getattr(owner, parent)
        if isinstance(owner, dict):  # free parameters, of a task of reasoning-gym: no defaults
            continue
        before = getattr(owner, name) if without else defaults_of(type(owner)).get(name)
        assert value != before or value == "???", f"{key}={value} is what it would be anyway"


@pytest.mark.parametrize(
    "file",
    [*sorted((CONF / "experiment").glob("*.yaml")), *SWEEPS],
    ids=lambda file: f"{file.parent.name}/{file.stem}",
)
def test_what_can_be_run_is_headed_by_its_command(file: Path) -> None:
    package, command, *_ = file.read_text("utf-8").splitlines()
    assert package == "# @package _global_"
    chosen = f"-m sweeps={file.stem}" if file in SWEEPS else f"experiment={file.stem}"
    assert command.startswith(f"# python launch.py {chosen}")


@pytest.mark.parametrize("file", SWEEPS, ids=lambda file: file.stem)
def test_every_run_of_a_ready_made_sweep_validates(file: Path) -> None:
    request = read_request(overrides_for(file))
    assert request.name == file.stem
    assert len(grid(request)) > 3


def specs_in(value: Any) -> Iterator[type]:
    if is_pydantic_dataclass(type(value)):
        yield type(value)
        for name in value.__dataclass_fields__:
            yield from specs_in(getattr(value, name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from specs_in(item)


KINDS = sorted(path.stem for path in Path(sources.__path__[0]).glob("[a-z]*.py"))


def with_all_sources() -> Experiment:
    added = [f"+data/source@data.sources.a_{kind}={kind}" for kind in KINDS]
    needed = ["data.sources.a_table.path=x.csv", "data.sources.a_reasoning_gym.task=leg_counting"]
    return compose([*added, *needed])


def test_every_file_in_data_sources_can_be_chosen() -> None:
    modules = {type(source).__module__ for source in with_all_sources().data.sources.values()}
    assert {module.rpartition(".")[2] for module in modules} == set(KINDS)


def test_every_field_is_described() -> None:
    specs = {*specs_in(with_all_sources()), *specs_in(compose(["sweep=asha"]))}
    assert len(specs) == 12 + len(KINDS)
    for spec in specs:
        for name, field in spec.__pydantic_fields__.items():  # type: ignore[attr-defined]
            assert field.description, f"{spec.__name__}.{name}"
            assert "\n" not in field.description


def test_every_key_can_be_overridden_without_a_plus() -> None:
    given = yaml.safe_load(to_yaml(with_all_sources()))
    added = [f"+data/source@data.sources.a_{kind}={kind}" for kind in KINDS]
    same = [
        f"{key}='{value}'" if isinstance(value, str) else f"{key}={shown(value)}"
        for key, value in leaves(given)
        if value != {}
    ]
    assert len(same) > 60
    assert compose([*added, *same]) == with_all_sources()


def test_an_experiment_survives_its_yaml(tmp_path: Path) -> None:
    experiment = compose(["stage.learning_rate=1e-5", "name=x", "lora=qv_r16", "tracking.tags=[a]"])
    assert experiment.stage.learning_rate == 1e-5
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(experiment), encoding="utf-8")
    assert load(path) == experiment


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("lora: [", "is not YAML"),
        ("3", "describes no experiment"),
        ("_target_: reasoning_lab.experiment.Experiment\nseed: x", "seed=x (in"),
    ],
)
def test_a_broken_run_config_is_explained(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError) as error:
        load(path)
    assert told in str(error.value)
    assert str(path) in str(error.value)


def test_a_missing_run_config_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read"):
        load(tmp_path / "none.yaml")


def test_the_presets_are_those_of_the_training_plan() -> None:
    plan = compose(["experiment=format_sft_mission"])
    assert plan.lora == LoraSpec(rank=16, alpha=32.0, target_modules=("q_proj", "v_proj"))
    assert plan.stage.learning_rate == 1e-5


def test_a_data_config_can_be_composed_alone() -> None:
    data = compose_data(["data=running_sum", "data.sources.running_sum.rows=3"])
    assert {name: source.rows for name, source in data.sources.items()} == {"running_sum": 3}
    with pytest.raises(ConfigError, match=r"lora\.rank=3: only data"):
        compose_data(["lora.rank=3"])


def test_the_command_line_wins_over_an_experiment() -> None:
    assert compose(["experiment=quick_cpu", "stage.max_steps=7"]).stage.max_steps == 7


COMMAND_LINE_MISTAKES = {
    # what is typed: what the message must hold
    "modell=gemma3_1b_it": ["Did you mean model?"],
    "model=gemma3_27m": ["Did you mean gemma3_270m?", "gemma2_2b_it"],
    "model=4": ["is not a choice of model", "gemma3_270m"],
    "+model=gemma3_1b_it": ["write model=gemma3_1b_it"],
    "model=gemma3_270m,gemma3_1b_it": ["add -m"],
    "lora.rnk=4": ["Did you mean lora.rank?", "alpha, rank, target_modules"],
    "+lora.rnk=4": ["Did you mean lora.rank?", "alpha, rank, target_modules"],
    "++lora.rnk=4": ["Did you mean lora.rank?", "alpha, rank, target_modules"],
    "lora={rnk: 4}": ["Did you mean lora.rank?"],
    "reward=null": ["reward=null", "~reward"],
    "learning_rate=1": ["Did you mean stage.learning_rate?"],
    "seed.x=3": ["Did you mean seed?"],
    "+lora.rank=4": ["leave out the +"],
    "+new.key=1": ["no such key in an experiment", "runs_dir"],
    "++x=1": ["no such key in an experiment", "runs_dir"],
    "lora.rank=abc": ["must be a whole number"],
    "lora.rank=1.5": ["must be a whole number"],
    "lora.rank=true": ["must be a whole number"],
    "lora.rank=": ["must be a whole number"],
    "lora.rank=-1": ["must be at least 1"],
    "lora.rank=4,8": ["add -m"],
    "lora.rank={": ["cannot be read", "key=value"],
    "lora.rank": ["cannot be read", "key=value"],
    "stage.learning_rate=inf": ["must be a finite number"],
    "stage.packing=yes": ["must be true or false"],
    "lora.target_modules=[q_prj]": ["lora.target_modules=q_prj", "Did you mean q_proj?", "v_proj"],
    "lora.target_modules=[q_proj,q_proj]": ["names q_proj twice"],
    "lora.target_modules=[]": ["at least 1"],
    "lora.target_modules=q_proj": ["must be a list, as in [a,b]"],
    "name=2026": ["""name="'2026'\""""],
    "name=a/b": ["may hold"],
    "seed=${sed}": ["Interpolation key 'sed' not found"],
    "lora._target_=os.system": ["only specs of reasoning_lab", "REASONING_LAB_ALLOW_TARGETS=os"],
    "lora._target_=reasoning_lab.engine.specs.LoraSpek": ["Did you mean LoraSpec?"],
    "lora._target_=reasoning_lab.none.X": ["No module named 'reasoning_lab.none'"],
    "data.sources.runing_sum.rows=3": ["Did you mean data.sources.running_sum?"],
    "data.sources.running_sum.rws=3": ["Did you mean data.sources.running_sum.rows?"],
    "+data/source@data.sources.x=prodct": ["Did you mean product?"],
    "+data.sources.x.rows=3": ["data.sources.x={rows: 3}", "must be a Source"],
    "hydra.swep.dir=x": ["Did you mean hydra.sweep"],
}


@pytest.mark.parametrize("override", COMMAND_LINE_MISTAKES)
def test_a_mistake_on_the_command_line_is_explained(override: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose([override], "on the command line")
    message = str(error.value)
    assert "on the command line" in message
    assert override.lstrip("+").split("=")[0].split(".")[0] in message
    assert "\n" not in message
    for told in COMMAND_LINE_MISTAKES[override]:
        assert told in message


COMBINATIONS = {
    "stage.batch_tokens=500": (["stage.max_length=256"], "stage.batch_tokens=512"),
    "hardware.fsdp=8": (["stage.batch_tokens=512"], "stage.batch_tokens=2048"),
    "lora.rank=900": (["model.architecture=gemma3_270m"], "lora.rank=512"),
    "model.location=''": (["model.weights=gguf"], "model.location=hf:google/gemma-3-270m-it"),
    "model.architecture=gemma3_tiny": (["model.weights=gguf"], "model.weights=random"),
}


@pytest.mark.parametrize("override", COMBINATIONS)
def test_a_combination_names_both_sides_and_a_remedy_that_works(override: str) -> None:
    other_sides, remedy = COMBINATIONS[override]
    with pytest.raises(ConfigError) as error:
        compose([override], "on the command line")
    message = str(error.value)
    assert f"{override.partition('=')[0]}: on the command line" in message
    for told in [*other_sides, remedy]:
        assert told in message
    compose([override, remedy])  # the later of two overrides of one key holds


REINFORCEMENT = {
    # what is typed after stage=grpo: (what the message must hold, a remedy that works)
    "stage.beta=-0.1": (["stage.beta=-0.1", "must be at least 0"], "stage.beta=0"),
    "stage.num_generations=1": (
        ["stage.num_generations=1", "must be at least 2"],
        "stage.num_generations=2",
    ),
    "stage.temperature=0": (
        ["stage.temperature=0", "must be greater than 0"],
        "stage.temperature=0.1",
    ),
    "hardware.fsdp=8 stage.batch_size=3 stage.num_generations=4": (
        ["stage.batch_size=3", "stage.num_generations=4", "12 completions", "hardware.fsdp=8"],
        "stage.batch_size=8",
    ),
    "stage.row_length=200": (
        [
            "stage.row_length=200",
            "stage.max_prompt_length=128",
            "stage.max_completion_length=128",
            "or null",
        ],
        "stage.row_length=256",
    ),
    "stage.num_generations=64": (
        ["stage.num_generations=64", "hardware.generation_batch_size=32"],
        "hardware.generation_batch_size=64",
    ),
    "stage.kl_estimator=k1_in_reward stage.beta=0": (
        ["stage.kl_estimator=k1_in_reward", "stage.beta=0"],
        "stage.kl_estimator=k3",
    ),
    "init_from=latest stage@warm_start=sft": (
        ["init_from=latest", "stage@warm_start", "Leave one out"],
        "init_from=null",
    ),
    "stage@warm_start=sft warm_start.batch_tokens=500": (
        ["warm_start.batch_tokens=500", "warm_start.max_length=256"],
        "warm_start.batch_tokens=512",
    ),
}


@pytest.mark.parametrize("words", REINFORCEMENT)
def test_a_mistake_in_reinforcement_learning_names_key_value_and_remedy(words: str) -> None:
    told, remedy = REINFORCEMENT[words]
    with pytest.raises(ConfigError) as error:
        compose(["stage=grpo", *words.split()], "on the command line")
    message = str(error.value)
    assert "mistakes" not in message  # there is one
    assert "_target_" not in message
    for part in told:
        assert part in message
    if "Use " in message:
        assert remedy in message
    compose(["stage=grpo", *words.split(), remedy])


def test_grpo_without_a_reward_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"stage=grpo has no reward.*Use reward=math or"):
        replace(compose(["stage=grpo"]), reward={})


def test_sft_has_no_use_for_a_reward() -> None:
    with pytest.raises(ConfigError) as error:
        compose(["reward=math"], "on the command line")
    assert str(error.value).startswith("reward=[math] means nothing to stage=sft")
    assert "Use stage=grpo or no reward" in str(error.value)
    compose(["reward=math", "stage=grpo"])


def test_sft_is_no_warm_start_of_itself() -> None:
    with pytest.raises(ConfigError, match=r"stage@warm_start=sft is for other stages"):
        compose(["stage@warm_start=sft"])


def test_every_variant_of_grpo_says_what_its_paper_says() -> None:
    stages = {name: compose([f"stage={name}"]) for name in ("grpo", "dr_grpo", "dapo", "gspo")}
    assert all(list(one.reward) == ["math"] for one in stages.values())
    grpo, dr_grpo, dapo, gspo = (cast(GRPOSpec, one.stage) for one in stages.values())
    assert grpo == GRPOSpec()
    assert (dr_grpo.loss_aggregation, dr_grpo.normalise_by_std) == ("constant", False)
    assert (dapo.loss_aggregation, dapo.highest_ratio) == ("token_mean", 1.28)
    assert dapo.resample_dead_groups > 0
    assert gspo.importance_ratio == "sequence"
    assert gspo.num_iterations > 1  # a ratio that is always 1 is not clipped


def test_the_sandbox_is_a_warm_start_and_grpo() -> None:
    sandbox = compose(["experiment=math_sandbox"])
    assert isinstance(sandbox.stage, GRPOSpec)
    assert sandbox.warm_start is not None
    assert list(sandbox.reward) == ["math", "format"]


def test_what_must_be_given_is_named() -> None:
    with pytest.raises(ConfigError, match=r"data\.sources\.table\.path is missing \(file or"):
        compose(["data=table"])


def test_several_mistakes_are_told_together() -> None:
    with pytest.raises(ConfigError, match="3 mistakes") as error:
        compose(["lora.rank=0", "lora.alpha=x", "stage.epochs=0"])
    assert all(key in str(error.value) for key in ("lora.rank=0", "lora.alpha=x", "stage.epochs=0"))


FILE_MISTAKES = {
    "lora: {rnk: 3}": ["lora.rnk=3 (in conf/experiment/mine.yaml)", "Did you mean lora.rank?"],
    "lora: {rank: x}": ["lora.rank=x (in conf/experiment/mine.yaml)", "whole number"],
    "stage: {batch_tokens: 500}": ["stage.batch_tokens: in conf/experiment/mine.yaml"],
    "seed: ${sed}": ["seed (in conf/experiment/mine.yaml)", "'sed' not found"],
    "seed: ${sed": ["conf/experiment/mine.yaml cannot be read"],
    "lora: {rank: [3": ["conf/experiment/mine.yaml cannot be read", "line 2"],
    "defaults: [override /model: gemma3_27m]": [
        "model: gemma3_27m (in conf/experiment/mine.yaml)",
        "Did you mean gemma3_270m?",
    ],
    "defaults: [override /modl: gemma3_tiny]": [
        "modl (overridden in conf/experiment/mine.yaml)",
        "Did you mean model?",
    ],
}


@pytest.mark.parametrize("content", FILE_MISTAKES)
def test_a_mistake_in_a_file_is_explained(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composition, "CONF_DIR", shutil.copytree(CONF, tmp_path / "conf"))
    (tmp_path / "conf/experiment/mine.yaml").write_text(f"# @package _global_\n{content}\n")
    with pytest.raises(ConfigError) as error:
        compose(["experiment=mine"], "on the command line")
    for told in FILE_MISTAKES[content]:
        assert told in str(error.value)


def test_a_spec_of_a_users_package_needs_an_opt_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_package.py").write_text(
        "from reasoning_lab.config import spec\n"
        "from reasoning_lab.data.sources.running_sum import RunningSum\n"
        "@spec\nclass Mine(RunningSum):\n    terms: int = 4\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    override = "+data.sources.mine={_target_: my_package.Mine, rows: 5}"
    with pytest.raises(ConfigError, match="REASONING_LAB_ALLOW_TARGETS=my_package"):
        compose([override])
    monkeypatch.setenv("REASONING_LAB_ALLOW_TARGETS", "my_package")
    assert compose([override]).data.sources["mine"].rows == 5

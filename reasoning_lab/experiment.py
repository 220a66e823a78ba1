"""The experiment: one frozen value made of the rooms' specs, and how to get one."""

import re
from collections.abc import Iterator, Mapping, Sequence
from math import gcd
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from reasoning_lab.config import ConfigError, composition, spec
from reasoning_lab.config.build import HOUSEKEEPING, build, leaves, to_mapping
from reasoning_lab.config.mistakes import in_one_message, shown
from reasoning_lab.data.choices import SOURCES
from reasoning_lab.data.specs import DataSpec
from reasoning_lab.engine.architecture import ARCHITECTURES
from reasoning_lab.engine.specs import LoraSpec, ModelSpec
from reasoning_lab.evaluation.specs import EvaluationSpec
from reasoning_lab.hardware.detect import this_machine
from reasoning_lab.hardware.specs import HardwareSpec
from reasoning_lab.preflight.specs import PlanSpec
from reasoning_lab.rewards.choices import REWARDS
from reasoning_lab.rewards.specs import Reward
from reasoning_lab.stages.specs import GRPOSpec, SFTSpec, StageSpec
from reasoning_lab.sweeps.specs import AshaSpec, SweepSpec
from reasoning_lab.tracking.specs import TrackingSpec


@spec
class Experiment:
    """Everything that decides what a run does. Making one validates it, combinations included."""

    model: ModelSpec = Field(description="base model")
    lora: LoraSpec = Field(description="adapters that are trained")
    data: DataSpec = Field(description="problems to train and evaluate on")
    reward: dict[str, Reward] = Field(
        default_factory=dict, description="what completions are rewarded for, by name"
    )
    stage: StageSpec = Field(description="kind of training")
    hardware: HardwareSpec = Field(description="machine that it runs on")
    tracking: TrackingSpec = Field(description="where metrics go besides the run's folder")
    evaluation: EvaluationSpec = Field(
        default_factory=EvaluationSpec, description="what is measured before and after"
    )
    warm_start: SFTSpec | None = Field(
        default=None, description="supervised fine-tuning before this stage, as a run of its own"
    )
    init_from: str | None = Field(
        default=None,
        min_length=1,
        description='run whose LoRA weights training begins with: its id, folder, or "latest"',
    )
    seed: int = Field(default=0, ge=0, description="seed of data order, LoRA and sampling")
    name: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9._-]+$", description="your own word in the run's id"
    )
    runs_dir: str = Field(default="runs", min_length=1, description="folder for the runs' folders")
    run_dir: str | None = Field(
        default=None,
        min_length=1,
        description="this very folder for the run; what is there already is gone on with",
    )
    stop_at: int | None = Field(
        default=None, ge=1, description="step to save and pause after; asked again, it goes on"
    )
    sweep: SweepSpec = Field(
        default_factory=SweepSpec, description="how a multirun (-m) goes through its runs"
    )
    check: bool = Field(
        default=False, description="validate, print the resolved experiment and stop"
    )
    mode: Literal["run", "plan", "fit"] = Field(
        default="run",
        description="plan: say what a run would need; fit: search the largest sizes that fit",
    )
    plan: PlanSpec = Field(default_factory=PlanSpec, description="how both go about it")

    def __post_init__(self) -> None:
        self.validate()

    def validate(self) -> None:
        """Check what no spec can check alone.

        Raises:
            ConfigError: a combination that does not work, with values that would.
        """
        problems = [*self._wrong_model(), *self._wrong_rank(), *self._wrong_reward()]
        problems += [*self._wrong_start(), *self._wrong_mesh()]
        match self.stage:
            case SFTSpec():
                problems += self._wrong_batch(self.stage, "stage")
            case GRPOSpec():
                problems += [*self._wrong_lengths(self.stage), *self._wrong_groups(self.stage)]
        if self.warm_start is not None:
            problems += self._wrong_batch(self.warm_start, "warm_start")
        if problems:
            # Each key=value in a message, for whoever knows where it was said.
            keys = [key for text in problems for key in re.findall(r"([a-z_]+\.[a-z_]+)=", text)]
            raise ConfigError(in_one_message(problems), keys=list(dict.fromkeys(keys)))

    def _wrong_model(self) -> Iterator[str]:
        architecture, weights = self.model.architecture, self.model.weights
        if weights != "random" and not self.model.location:
            yield (
                f"model.weights={weights} needs a model.location, such as a path or "
                "model.location=hf:google/gemma-3-270m-it."
            )
        if architecture == "gemma3_tiny" and weights != "random":
            yield (
                f"model.architecture={architecture} has no weights for model.weights={weights} to "
                "load. Use model.weights=random."
            )

    def _wrong_rank(self) -> Iterator[str]:
        shape, rank = ARCHITECTURES[self.model.architecture], self.lora.rank
        heads = shape.num_heads * shape.head_dim
        keys_and_values = 2 * shape.num_kv_heads * shape.head_dim  # they share one adapter
        outputs = {"q_proj": heads, "o_proj": heads}
        outputs |= dict.fromkeys(("k_proj", "v_proj"), keys_and_values)
        outputs |= dict.fromkeys(("gate_proj", "up_proj", "down_proj"), shape.hidden_dim)
        module = min(self.lora.target_modules, key=lambda name: outputs[name])
        width = min(shape.embed_dim, outputs[module])
        if rank > width:
            yield (
                f"lora.rank={rank} is over the width of {module} in "
                f"model.architecture={self.model.architecture}. Use lora.rank={width} or less."
            )

    def _wrong_reward(self) -> Iterator[str]:
        rewards = ",".join(self.reward)
        if isinstance(self.stage, GRPOSpec) and not self.reward:
            yield "stage=grpo has no reward to learn from. Use reward=math or reward=[math,format]."
        domains = dict.fromkeys(source.domain for source in self.data.sources.values())
        parts = self.reward.values()
        missing = [domain for domain in domains if not any(part.is_for(domain) for part in parts)]
        if self.reward and missing:
            yield (
                f"reward=[{rewards}] has nothing for {', '.join(missing)}, of which the data has "
                f"problems. Add a reward, or name the domain in the domains of one that is there."
            )
        if taken := sorted({"total", "std_in_group", "kl_penalty"} & set(self.reward)):
            yield f"reward.{taken[0]}: a metric has this name. Call the reward something else."
        if isinstance(self.stage, SFTSpec) and self.reward:
            yield f"reward=[{rewards}] means nothing to stage=sft. Use stage=grpo or no reward."

    def _wrong_start(self) -> Iterator[str]:
        if self.warm_start is None:
            return
        if isinstance(self.stage, SFTSpec):
            yield "stage@warm_start=sft is for other stages: stage=sft is itself such a start."
        if self.init_from is not None:
            yield (
                f"init_from={self.init_from} and stage@warm_start both say what training begins "
                "with. Leave one out."
            )

    def _wrong_mesh(self) -> Iterator[str]:
        """Each device of "tp" has as many heads and hidden units; each of "fsdp", completions."""
        shape, hardware = ARCHITECTURES[self.model.architecture], self.hardware
        sizes = {"heads": shape.num_heads, "hidden units": shape.hidden_dim}
        wrong = [f"{size} {name}" for name, size in sizes.items() if size % hardware.tp]
        if wrong:
            devices, most = hardware.fsdp * hardware.tp, gcd(*sizes.values())
            fitting = [tp for tp in range(1, most + 1) if most % tp == 0 and devices % tp == 0]
            meshes = [f"hardware.fsdp={devices // tp} hardware.tp={tp}" for tp in fitting]
            yield (
                f"hardware.tp={hardware.tp} devices cannot share out evenly the "
                f"{' and '.join(wrong)} of model.architecture={self.model.architecture}. Of "
                f"{devices} devices these meshes work: {' or '.join(meshes)}."
            )
        if hardware.fsdp % hardware.hosts:
            yield (
                f"hardware.hosts={hardware.hosts} cannot share out evenly "
                f"hardware.fsdp={hardware.fsdp}. Use "
                f"hardware.fsdp={_round_up(hardware.fsdp, hardware.hosts)}."
            )
        if hardware.generation_batch_size % hardware.fsdp:
            more = _round_up(hardware.generation_batch_size, hardware.fsdp)
            yield (
                f"hardware.generation_batch_size={hardware.generation_batch_size} sequences "
                f"cannot be shared out evenly by hardware.fsdp={hardware.fsdp} devices. "
                f"Use hardware.generation_batch_size={more}."
            )

    def _wrong_lengths(self, stage: GRPOSpec) -> Iterator[str]:
        longest = stage.max_prompt_length + stage.max_completion_length
        if stage.tokens_in_a_row < longest:
            yield (
                f"stage.row_length={stage.row_length} does not hold "
                f"stage.max_prompt_length={stage.max_prompt_length} and "
                f"stage.max_completion_length={stage.max_completion_length}. "
                f"Use stage.row_length={longest} or more, or null."
            )

    def _wrong_groups(self, stage: GRPOSpec) -> Iterator[str]:
        """Whole groups are sampled at once, and all devices get as many completions."""
        group, at_once = stage.num_generations, self.hardware.generation_batch_size
        completions, devices = stage.batch_size * group, self.hardware.fsdp
        if group > at_once:
            yield (
                f"stage.num_generations={group} is a group of more completions than are sampled at "
                f"once, hardware.generation_batch_size={at_once}. "
                f"Use hardware.generation_batch_size={group} or more."
            )
        if completions % devices:
            more = _round_up(stage.batch_size, devices)
            yield (
                f"stage.batch_size={stage.batch_size} x stage.num_generations={group} are "
                f"{completions} completions, which hardware.fsdp={devices} devices cannot share "
                f"out evenly. Use stage.batch_size={more}."
            )
        elif group <= at_once and not at_once % devices:
            fitting = [n for n in range(1, stage.batch_size + 1) if not n * group % devices]
            groups = min(stage.batch_size, at_once // group)
            if groups not in fitting:
                best = max([n for n in fitting if n < groups], default=fitting[0])
                yield (
                    f"hardware.generation_batch_size={at_once} samples {groups} groups of "
                    f"stage.num_generations={group} at once, {groups * group} completions, which "
                    f"hardware.fsdp={devices} devices cannot share out evenly. "
                    f"Use hardware.generation_batch_size={best * group}."
                )
        if stage.kl_estimator == "k1_in_reward" and not stage.beta:
            yield (
                "stage.kl_estimator=k1_in_reward does nothing with stage.beta=0. "
                "Use a stage.beta above 0 or stage.kl_estimator=k3."
            )

    def _wrong_batch(self, stage: SFTSpec, key: str) -> Iterator[str]:
        """One step is so many whole rows for each device."""
        length, tokens, devices = stage.max_length, stage.batch_tokens, self.hardware.fsdp
        rows, rest = divmod(tokens, length)
        if rest:
            counts = [count for count in (rows, rows + 1) if count]
            fitting = " or ".join(f"{key}.batch_tokens={count * length}" for count in counts)
            yield (
                f"{key}.batch_tokens={tokens} is not a multiple of {key}.max_length={length}. "
                f"Use {fitting}."
            )
        elif rows % devices:
            yield (
                f"{key}.batch_tokens={tokens} is {rows} rows of {key}.max_length={length}, which "
                f"hardware.fsdp={devices} devices cannot share out evenly. "
                f"Use {key}.batch_tokens={_round_up(rows, devices) * length}."
            )


def _round_up(number: int, step: int) -> int:
    return -(-number // step) * step


composition.let_yaml_ask(  # conf/hardware/auto.yaml
    {
        "file_for_this_machine": lambda: f"/hardware/{this_machine().choice}",
        "devices_of_this_machine": lambda hosts, tp: hosts * this_machine().devices // tp,
    }
)
composition.register(
    {
        "experiment_spec": Experiment,
        "model/model_spec": ModelSpec,
        "lora/lora_spec": LoraSpec,
        "data/data_spec": DataSpec,
        **{f"data/source/{name}": source for name, source in SOURCES.items()},
        **{f"reward/spec/{name}": reward for name, reward in REWARDS.items()},
        "stage/grpo_spec": GRPOSpec,
        "stage/sft_spec": SFTSpec,
        "hardware/hardware_spec": HardwareSpec,
        "tracking/tracking_spec": TrackingSpec,
        "sweep/grid_spec": SweepSpec,
        "sweep/asha_spec": AshaSpec,
    }
)


def compose(overrides: Sequence[str] = (), said: str = "in the overrides") -> Experiment:
    """The default experiment with overrides such as "lora.rank=4", as on the command line.

    Raises:
        ConfigError: any wrong key, type, choice or combination.
    """
    experiment: Experiment = composition.compose(overrides, said)
    return experiment


def compose_data(overrides: Sequence[str]) -> DataSpec:
    """A data config alone, from overrides such as "data=running_sum".

    Raises:
        ConfigError: a mistake in them, or an override of anything but the data.
    """
    others = [text for text in overrides if not text.lstrip("+~").startswith("data")]
    if others:
        raise ConfigError(f"{' '.join(others)}: only data=... and data.*=... can be given here.")
    return compose(overrides, "on the command line").data


def compose_rewards(overrides: Sequence[str]) -> dict[str, Reward]:
    """Rewards alone, by name, from overrides such as "reward=[math,format]".

    Raises:
        ConfigError: a mistake in them, or an override of anything but the reward.
    """
    others = [text for text in overrides if not text.lstrip("+~").startswith("reward")]
    if others:
        raise ConfigError(
            f"{' '.join(others)}: only reward=... and reward.*=... can be given here."
        )
    said = "on the command line"
    rewards: dict[str, Reward] | None = composition.compose(
        ["stage=grpo", *overrides], said, only="reward"
    )
    if not rewards:
        raise ConfigError(f"{' '.join(overrides)} ({said}) leaves no reward. Use reward=math.")
    return rewards


def compose_hardware(overrides: Sequence[str], own: HardwareSpec) -> HardwareSpec:
    """Another machine, from overrides such as "hardware=cpu"; of single keys, `own` has the rest.

    Raises:
        ConfigError: a mistake in them, or an override of anything but the hardware.
    """
    others = [text for text in overrides if not re.match(r"hardware[.=]", text.lstrip("+~"))]
    if others:
        raise ConfigError(
            f"{' '.join(others)}: only hardware=... and hardware.*=... can be given here; the rest "
            "is the run's own."
        )
    kept = [f"hardware.{key}={shown(value)}" for key, value in leaves(to_mapping(own))]
    if any(text.startswith("hardware=") for text in overrides):
        kept = []
    hardware: HardwareSpec = composition.compose(
        [*kept, *overrides], "on the command line", only="hardware"
    )
    return hardware


def what_it_does(experiment: Experiment) -> dict[str, Any]:
    """All that decides what comes out of a run, by dotted key: not where it goes or who watches."""
    flat = leaves(to_mapping(experiment))
    return {key: value for key, value in flat if key.split(".")[0] not in HOUSEKEEPING}


def what_is_learned(experiment: Experiment) -> dict[str, Any]:
    """The same without the machine, which decides memory, speed and rounding alone."""
    flat = what_it_does(experiment).items()
    return {key: value for key, value in flat if key.split(".")[0] != "hardware"}


def differences(one: Experiment, other: Experiment) -> list[str]:
    """What two experiments learn differently, as in "stage.beta is 0.02 and 0.04"."""
    first, second = what_is_learned(one), what_is_learned(other)
    keys = [key for key in {**first, **second} if first.get(key) != second.get(key)]
    return [
        f"{key} is {first.get(key, 'missing')} and {second.get(key, 'missing')}" for key in keys
    ]


def to_yaml(experiment: Experiment) -> str:
    """The resolved config, as each run's folder keeps it; the inverse of `load`."""
    text: str = yaml.safe_dump(to_mapping(experiment), sort_keys=False, allow_unicode=True)
    return text


def load(path: Path) -> Experiment:
    """The experiment that `to_yaml` wrote.

    Raises:
        ConfigError: the file is missing, is no YAML, or does not describe an experiment.
    """
    try:
        mapping = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not YAML: {error}") from error
    experiment = build(mapping, lambda key: f"in {path}") if isinstance(mapping, Mapping) else None
    if not isinstance(experiment, Experiment):
        raise ConfigError(f"{path}: describes no experiment.")
    return experiment

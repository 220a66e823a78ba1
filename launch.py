"""Compose an experiment from conf/ and the command line, then run its stage.

python launch.py lora.rank=4 stage.learning_rate=1e-4
python launch.py -m lora.rank=4,8 seed=0,1
python launch.py hardware=tpu_v5e8 mode=plan
python launch.py --help
"""

from pathlib import Path

import hydra
from hydra._internal.utils import get_args
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from reasoning_lab.config import composition
from reasoning_lab.config.build import build
from reasoning_lab.experiment import Experiment, compose, to_yaml
from reasoning_lab.plain_errors import plain_errors

SAID = "on the command line"


def main() -> None:
    args = get_args()
    overrides = list(args.overrides)
    if args.config_dir:
        overrides.append(f"hydra.searchpath=['file://{Path(args.config_dir).resolve()}']")
    with plain_errors():
        if args.help:
            from reasoning_lab.config.help import print_help

            print_help(compose(overrides, SAID), composition.groups_and_choices(overrides, SAID))
        elif args.cfg == "job" and not args.package:  # also of an experiment that lacks something
            config = composition.compose_config(overrides, SAID)
            print(OmegaConf.to_yaml(config, resolve=args.resolve), end="")
        elif args.hydra_help or args.shell_completion:
            launch()
        elif args.multirun:
            from reasoning_lab.sweeps import plan

            # Before Hydra does anything: its advice on a misspelt key ("append with +") misleads.
            request = plan.read_request(overrides)
            if request.base.check:
                check([point.experiment for point in plan.grid(request)])
            elif request.base.mode != "run":
                preflight([point.experiment for point in plan.grid(request)])
            else:
                launch()
        else:
            experiment = compose(overrides, SAID)
            if experiment.check:
                check([experiment])
            elif experiment.mode != "run":
                preflight([experiment])
            else:
                launch()


def check(experiments: list[Experiment]) -> None:
    """Print experiments, and what they would train on."""
    print("---\n".join(map(to_yaml, experiments)), end="", flush=True)
    from reasoning_lab.stages.look_at_data import print_check  # imports jax

    for experiment in experiments:
        print_check(experiment)


def preflight(experiments: list[Experiment]) -> None:
    """Print what runs would need, or what would fit."""
    from reasoning_lab.preflight.show import print_plan  # imports jax
    from reasoning_lab.preflight.show_fit import print_fit

    for experiment in experiments:
        print_fit(experiment) if experiment.mode == "fit" else print_plan(experiment)


@hydra.main(version_base="1.3", config_path=str(composition.CONF_DIR), config_name="config")
def launch(config: DictConfig) -> None:
    experiment = build(OmegaConf.to_container(config, resolve=True), origin=lambda key: SAID)
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        from reasoning_lab.sweeps import job

        job.run(experiment)
        return
    with plain_errors():
        from reasoning_lab.stages import recipe  # imports jax

        recipe.run(experiment)


if __name__ == "__main__":
    main()

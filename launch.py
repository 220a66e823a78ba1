"""Compose an experiment from conf/ and the command line, then run its stage.

python launch.py lora.rank=4 stage.learning_rate=1e-4
python launch.py --help
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra._internal.utils import get_args
from omegaconf import DictConfig, OmegaConf

from reasoning_lab.config import ConfigError, RunError, composition
from reasoning_lab.config.build import build
from reasoning_lab.experiment import compose, to_yaml
from reasoning_lab.runs.files import DiskFullError

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
        else:
            # Before Hydra does anything: it would stop at the first bad job of a sweep, and its
            # advice on a misspelt key ("append with +") misleads.
            jobs = composition.jobs(overrides) if args.multirun else [overrides]
            experiments = [compose(job, SAID) for job in jobs]
            if all(experiment.check for experiment in experiments):
                print("---\n".join(map(to_yaml, experiments)), end="", flush=True)
                from reasoning_lab.stages.look_at_data import print_check  # imports jax

                for experiment in experiments:
                    print_check(experiment)
            else:
                launch()


@hydra.main(version_base="1.3", config_path=str(composition.CONF_DIR), config_name="config")
def launch(config: DictConfig) -> None:
    with plain_errors():
        from reasoning_lab.stages import recipe  # imports jax

        experiment = build(OmegaConf.to_container(config, resolve=True), origin=lambda key: SAID)
        recipe.run(experiment)


@contextmanager
def plain_errors() -> Iterator[None]:
    """No traceback where the message says it all: exit status 2 for a mistake in what was asked
    for, 1 for a run that cannot go on, 130 for Ctrl-C."""
    try:
        yield
    except (ConfigError, DiskFullError) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(error, file=sys.stderr)
        sys.exit(2)
    except RunError as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(error, file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()

"""Ready command lines for machines that are elsewhere: a shell script, Kubernetes, SkyPilot.

Each run is one line that makes it, goes on with it, or finds it done; so it may be given any number
of times, to any machine that sees the folder of runs.
"""

import hashlib
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from reasoning_lab.runs.files import write_atomically
from reasoning_lab.sweeps.machine import Machine
from reasoning_lab.sweeps.plan import folder_of, quoted

_LONGEST_SWEEP = 30  # in names: xpk takes 40 characters


@dataclass(frozen=True)
class Command:
    """One run: a name that Kubernetes takes, and its line."""

    name: str
    words: tuple[str, ...]

    @property
    def line(self) -> str:
        return shlex.join(self.words)


def commands(jobs: Sequence[Sequence[str]], python: str = "python") -> list[Command]:
    """The command of each run; folders below the working directory are named relative to it."""
    found = []
    for overrides in jobs:
        folder = folder_of(overrides).path
        here = Path.cwd()
        where = os.path.relpath(folder, here) if folder.is_relative_to(here) else str(folder)
        words = [
            f"run_dir={quoted(where)}" if text.startswith("run_dir=") else text
            for text in overrides
        ]
        found.append(Command(_name(folder), (python, "launch.py", *words)))
    return found


def _name(folder: Path) -> str:
    """The same for a run whenever its command is written. JobSet and xpk want a letter first, then
    letters, digits and dashes, 40 in all (DNS-1035)."""
    sweep = re.sub(r"[^a-z0-9]+", "-", folder.parent.name.lower()).strip("-")
    if not sweep[:1].isalpha():
        sweep = f"s-{sweep}"
    digest = hashlib.sha256("/".join(folder.parts[-2:]).encode()).hexdigest()[:8]
    return f"{sweep[:_LONGEST_SWEEP].rstrip('-')}-{digest}"


def write_all(found: Sequence[Command], folder: Path, machine: Machine) -> dict[str, Path]:
    """Write every form into a folder; {what to type: file}. Everything is to be typed where this
    is called: paths are relative to the working directory. What was written before is replaced.

    Raises:
        DiskFullError: no space is left.
    """
    for sub in ("jobset", "skypilot"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
        for old in (folder / sub).glob("*.yaml"):  # a run that has been made since
            old.unlink()
    write_atomically(folder / "commands.txt", "".join(f"{one.line}\n" for one in found))
    script = folder / "run.sh"
    write_atomically(script, _script([one.line for one in found]))
    script.chmod(0o755)
    for one in found:
        write_atomically(folder / "jobset" / f"{one.name}.yaml", _yaml(jobset(one, machine)))
        write_atomically(folder / "skypilot" / f"{one.name}.yaml", _yaml(skypilot(one, machine)))
    xpk, sky = folder / "xpk.sh", folder / "skypilot.sh"
    write_atomically(xpk, _script([_xpk_line(one, machine) for one in found]))
    write_atomically(sky, _script([_sky_line(one, folder / "skypilot") for one in found]))
    for path in (xpk, sky):
        path.chmod(0o755)
    return {
        "here, one after another": script,
        "one line a run, for GNU parallel or a SLURM array": folder / "commands.txt",
        "GKE: kubectl apply -f": folder / "jobset",
        "GKE with xpk (set CLUSTER)": xpk,
        "SkyPilot": sky,
    }


def jobset(command: Command, machine: Machine) -> dict[str, Any]:
    """A GKE JobSet (jobset.x-k8s.io/v1alpha2) of one host; a run that is preempted goes on."""
    container = {
        "name": "run",
        "image": machine.image,
        "command": list(command.words),
        "resources": {"limits": {"google.com/tpu": machine.chips}},
        "env": [_wandb_key()],
    }
    pod = {
        "restartPolicy": "Never",
        "nodeSelector": {
            "cloud.google.com/gke-tpu-accelerator": machine.accelerator,
            "cloud.google.com/gke-tpu-topology": machine.topology,
        },
        "containers": [container],
    }
    job = {"parallelism": 1, "completions": 1, "backoffLimit": 3, "template": {"spec": pod}}
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": command.name},
        "spec": {"replicatedJobs": [{"name": "run", "replicas": 1, "template": {"spec": job}}]},
    }


def skypilot(command: Command, machine: Machine) -> dict[str, Any]:
    """A SkyPilot task; as a managed job it is moved and goes on when it is preempted."""
    return {
        "name": command.name,
        "resources": {
            "accelerators": f"tpu-{machine.tpu_type}",
            "accelerator_args": {"runtime_version": machine.runtime},
            "use_spot": True,
        },
        "workdir": ".",
        "envs": {"WANDB_API_KEY": ""},
        "setup": "pip install --quiet '.[tpu]'",
        "run": command.line,
    }


def _wandb_key() -> dict[str, Any]:
    """The key from a secret of the cluster, if there is one: it is never written here."""
    reference = {"name": "wandb", "key": "api-key", "optional": True}
    return {"name": "WANDB_API_KEY", "valueFrom": {"secretKeyRef": reference}}


def _xpk_line(command: Command, machine: Machine) -> str:
    words = [
        *("xpk", "workload", "create", f"--workload={command.name}"),
        *(f"--tpu-type={machine.tpu_type}", f"--docker-image={machine.image}"),
        f"--command={command.line}",
    ]
    return f'{shlex.join(words)} --cluster="$CLUSTER"'


def _sky_line(command: Command, folder: Path) -> str:
    """SkyPilot takes along the working directory, so this is typed there and not in `folder`."""
    task = os.path.relpath(folder / f"{command.name}.yaml")
    return shlex.join(["sky", "jobs", "launch", "-y", "-d", "-n", command.name, task])


def _script(lines: Sequence[str]) -> str:
    """A failure is said at the end and does not keep the rest from running; Ctrl-C does."""
    tried = "\n".join(f"{line} || failed=$((failed + 1))" for line in lines)
    return (
        f"#!/usr/bin/env bash\nset -u\ntrap 'exit 130' INT\nfailed=0\n{tried}\n"
        'echo "$failed failed" >&2\nexit $((failed > 0))\n'
    )


def _yaml(value: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(dict(value), sort_keys=False, width=1000)
    return text

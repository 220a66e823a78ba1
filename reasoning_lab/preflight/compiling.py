"""Has programs compiled by worker processes, each once: what was found is kept on disk."""

import hashlib
import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import cache
from importlib import metadata
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from reasoning_lab.config import RunError
from reasoning_lab.config.cache import cache_dir
from reasoning_lab.engine.programs import Program
from reasoning_lab.hardware.idle_cuda import WANTED
from reasoning_lab.hardware.machines import Machine
from reasoning_lab.preflight.compiled import Compiled, Setup
from reasoning_lab.runs.files import write_atomically

PACKAGES = ("jax", "jaxlib", "libtpu", "jax-cuda12-pjrt", "nvidia-cuda-nvcc-cu12")
"""What decides what a compiler says, besides the programs."""

_MOST_WORKERS = 2  # each has a compiler in memory: 1 to 2 GB
_HERE = Path(__file__).parent

OnProgress = Callable[[int, int], None]
"""Called with how many programs are compiled, and how many there are."""


class NoCompilerError(Exception):
    """The compiler for this machine is not installed here."""


def compile_all(
    setup: Setup, programs: Sequence[Program], on_progress: OnProgress = lambda done, of: None
) -> list[Compiled]:
    """What the compiler says of each program, in order.

    Raises:
        NoCompilerError: it is not installed.
        RunError: it failed for another reason than too little memory.
    """
    paths = [_path(setup, program) for program in programs]
    found = {path: Compiled(**json.loads(path.read_text())) for path in paths if path.exists()}
    missing = {path: one for path, one in zip(paths, programs, strict=True) if path not in found}
    on_progress(len(found), len(found) + len(missing))
    if missing:
        # The longest first, so that no worker begins one of those when the others are done.
        order = sorted(missing, key=lambda path: not missing[path].trains)
        for path, compiled in zip(
            order, _compiled(setup, [missing[p] for p in order]), strict=True
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(asdict(compiled)))
            found[path] = compiled
            on_progress(len(found), len(set(paths)))
    return [found[path] for path in paths]


def environment_for(machine: Machine, devices: int) -> dict[str, str]:
    """Variables with which JAX compiles for a machine on the processor of this one."""
    flags = {
        "cpu": f"--xla_force_host_platform_device_count={devices}",
        "cuda": "--xla_gpu_autotune_level=0",  # there is no card to try kernels on
    }
    return {
        "JAX_PLATFORMS": "cpu",
        WANTED: "1",
        "XLA_FLAGS": flags.get(machine.platform, ""),
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
        "TPU_SKIP_MDS_QUERY": "1",  # no TPU host's metadata server to ask
    }


def versions() -> dict[str, str]:
    """The versions of what compiles; those that are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _compiled(setup: Setup, programs: Sequence[Program]) -> Iterator[Compiled]:
    count = min(_MOST_WORKERS, os.cpu_count() or 1, len(programs))
    idle: SimpleQueue[_Worker] = SimpleQueue()

    def one(program: Program) -> Compiled:
        worker = idle.get()
        try:
            return worker.compile(program)
        finally:
            idle.put(worker)

    with ExitStack() as stack:
        for _ in range(count):
            idle.put(stack.enter_context(_worker(setup)))
        threads = stack.enter_context(ThreadPoolExecutor(count))
        try:
            yield from threads.map(one, programs)
        finally:
            threads.shutdown(cancel_futures=True)


class _Worker:
    def __init__(self, process: "subprocess.Popen[bytes]", errors: IO[bytes]) -> None:
        self._process = process
        self._errors = errors

    def compile(self, program: Program) -> Compiled:
        return Compiled(**self.ask(program))

    def ask(self, request: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            pickle.dump(request, self._process.stdin)
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip().splitlines()
            raise RunError("The compiler failed:\n  " + "\n  ".join(said[-12:]))
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def _worker(setup: Setup) -> Iterator[_Worker]:
    environment = {**os.environ, **environment_for(setup.machine, setup.fsdp * setup.tp)}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "reasoning_lab.preflight.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
        )
        try:
            worker = _Worker(process, errors)
            if reason := worker.ask(setup).get("not_installed"):
                raise NoCompilerError(reason)
            yield worker
        finally:
            process.kill()
            process.communicate()


def _path(setup: Setup, program: Program) -> Path:
    """Where what is known of a program is kept: another one for all that could change it."""
    text = repr((setup, program, versions(), _code()))
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    return cache_dir() / "plans" / "compiled" / f"{digest}.json"


@cache
def _code() -> str:
    """A digest of the programs' source and of what counts their costs."""
    counting = (_HERE / f"{name}.py" for name in ("worker", "hlo_costs", "jaxpr_flops"))
    files = [*sorted(_HERE.parent.joinpath("engine").glob("*.py")), *counting]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()

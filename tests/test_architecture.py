"""The rooms and the arrows between them (docs/architecture.md), read from the imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGE = "reasoning_lab"
FILES = [
    REPOSITORY / "launch.py",
    *sorted((REPOSITORY / "hydra_plugins").glob("*.py")),
    *sorted((REPOSITORY / PACKAGE).rglob("*.py")),
]

ROOMS = {"engine", "data", "rewards", "evaluation", "tracking", "runs", "hardware"}
GROUND = {"config", "formats", "answers", "__version__"}  # anybody may stand on these
ANYWHERE = {"specs", "example", "machines", "detect"}  # what siblings may import of a room
ABOVE = {  # what stands above the rooms -> what it may import besides rooms and ground
    "launch": {"stages", "experiment", "sweeps", "preflight", "plain_errors"},
    "hydra_plugins": {"sweeps", "plain_errors"},
    "__main__": {"stages", "experiment", "sweeps", "compare", "plain_errors"},
    "sweeps": {"stages", "experiment", "compare"},
    "preflight": {"experiment", "stages"},
    "stages": {"experiment"},
    "compare": set(),
    "experiment": set(),
    "plain_errors": set(),
}

ONLY_IN = {  # third-party package -> the only places that import it
    "tunix": {"engine"},
    "flax": {"engine"},
    "qwix": {"engine"},
    "orbax": {"engine"},
    "wandb": {"tracking"},
    "wandb_workspaces": {"tracking"},
    "hydra": {"launch", "hydra_plugins", "config"},
    "omegaconf": {"launch", "hydra_plugins", "config"},
    "optuna": {"sweeps"},
    "plotly": {"compare"},
}
WITHOUT_JAX = {"launch", "experiment", "config", "formats", "answers", "data", "rewards", "compare"}


def place(module: str) -> str:
    """The room or top-level module that a dotted module of ours belongs to."""
    return module.removeprefix(f"{PACKAGE}.").split(".")[0]


def imports(file: Path) -> Iterator[str]:
    """Dotted names that a file imports, at the top or inside functions."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def breaches(module: str, imported: str) -> Iterator[str]:
    """Why `module` must not import `imported`."""
    here, package = place(module), imported.split(".")[0]
    if here not in ONLY_IN.get(package, {here}):
        yield f"{package} belongs in {ONLY_IN[package]}"
    if package in ("jax", "jaxlib", "optax") and here in WITHOUT_JAX:
        yield f"{here} stays without jax"
    if package == PACKAGE and imported != PACKAGE:
        there, leaf = place(imported), imported.split(".")[2:3]
        allowed = GROUND | {here}
        if here in ABOVE:
            allowed |= ABOVE[here] | ROOMS
        is_shared = (
            there in ROOMS | {"stages", "sweeps", "preflight"} and set(leaf) <= ANYWHERE and leaf
        )
        if there not in allowed and not (is_shared and here not in GROUND):
            yield f"{here} may import {sorted(allowed)}"


def module_name(file: Path) -> str:
    parts = file.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def test_imports_follow_the_arrows() -> None:
    found = [
        f"{module_name(file)} imports {imported}: {reason}"
        for file in FILES
        if module_name(file) != PACKAGE
        for imported in imports(file)
        for reason in breaches(module_name(file), imported)
    ]
    assert len(FILES) > 20
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("reasoning_lab.data.mixture", "jax.numpy"),
        ("reasoning_lab.runs.folder", "wandb"),
        ("reasoning_lab.stages.sft", "tunix.sft"),
        ("reasoning_lab.stages.sft", "omegaconf.OmegaConf"),
        ("reasoning_lab.data.mixture", "reasoning_lab.engine.tokenizer"),
        ("reasoning_lab.engine.lora", "reasoning_lab.experiment.Experiment"),
        ("reasoning_lab.engine.lora", "reasoning_lab.stages.sft"),
        ("reasoning_lab.formats", "reasoning_lab.data.example.Example"),
        ("reasoning_lab.config.build", "reasoning_lab.engine.specs.LoraSpec"),
        ("reasoning_lab.experiment", "reasoning_lab.stages.sft"),
    ],
)
def test_a_breach_is_seen(module: str, imported: str) -> None:
    assert list(breaches(module, imported))


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("launch", "reasoning_lab.stages.sft"),
        ("reasoning_lab.__main__", "reasoning_lab.stages.sft"),
        ("reasoning_lab.stages.sft", "reasoning_lab.engine.lora.init_params"),
        ("reasoning_lab.engine.lora", "reasoning_lab.hardware.specs.HardwareSpec"),
        ("reasoning_lab.evaluation.metrics", "reasoning_lab.data.example.Example"),
        ("reasoning_lab.experiment", "reasoning_lab.stages.specs.SFTSpec"),
        ("reasoning_lab.engine.lora", "jax"),
    ],
)
def test_an_arrow_is_allowed(module: str, imported: str) -> None:
    assert not list(breaches(module, imported))


def test_no_file_is_too_long() -> None:
    files = [*FILES, *(REPOSITORY / "tests").rglob("*.py"), *(REPOSITORY / "bench").rglob("*.py")]
    long = [file for file in files if len(file.read_text("utf-8").splitlines()) > 500]
    assert not long

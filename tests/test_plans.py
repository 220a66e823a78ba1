"""The pages in docs/plans: made by the command at their head, and of runs that fit."""

import re
import shlex
from pathlib import Path

import pytest

from reasoning_lab.experiment import compose

PLANS = Path(__file__).parents[1] / "docs/plans"
PAGES = sorted(path for path in PLANS.glob("*.md") if path.stem != "README")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_plan_is_of_a_run_that_fits_and_names_its_command(page: Path) -> None:
    text = page.read_text("utf-8")
    (command,) = re.findall(r"```sh\npython launch\.py (.*)\n```", text)
    experiment = compose(shlex.split(command))
    assert experiment.mode == "plan"
    assert experiment.plan.save == f"docs/plans/{page.name}"
    assert "- Memory: fits" in text
    assert "To try" not in text
    assert f"# Plan: {experiment.model.architecture}" in text


def test_the_sized_experiments_have_their_plans_for_both_models() -> None:
    sized = ("glaive_sft", "gsm8k_grpo", "glaive_sft_home", "gsm8k_grpo_home")
    wanted = {f"{name}_{model}" for name in sized for model in ("gemma2_2b", "gemma3_1b")}
    assert {page.stem for page in PAGES} == wanted
    table = (PLANS / "README.md").read_text("utf-8")
    makefile = (PLANS.parents[1] / "Makefile").read_text("utf-8")
    for page in PAGES:
        assert f"({page.name})" in table
        assert f"plan.save=docs/plans/{page.name}" in makefile

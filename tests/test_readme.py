"""What README, CONTRIBUTING and docs/ tell the reader to type, follow and find is there."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from reasoning_lab.__main__ import _parser
from reasoning_lab.experiment import Experiment, compose, compose_rewards
from reasoning_lab.sweeps import plan
from reasoning_lab.sweeps.conduct import is_search

REPOSITORY = Path(__file__).parents[1]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", REPOSITORY / "CHANGELOG.md"]
PAGES += sorted((REPOSITORY / "docs").glob("*.md"))

FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\((?!https?://)([^)\s]+)\)")
LAUNCH = ["python", "launch.py"]
VERB = ["python", "-m", "reasoning_lab"]


def fenced(page: Path) -> Iterator[tuple[str, str]]:
    """(language, text) of each fenced block."""
    yield from FENCED.findall(page.read_text("utf-8"))


def prose(page: Path) -> str:
    return FENCED.sub("", page.read_text("utf-8"))


def commands() -> Iterator[tuple[str, list[str]]]:
    """(page, words) of every command: the lines of sh blocks, and code inside sentences."""
    for page in PAGES:
        blocks = [text.replace("\\\n", " ") for lang, text in fenced(page) if lang == "sh"]
        lines = [line for text in blocks for line in text.splitlines()]
        for text in [*lines, *INLINE.findall(prose(page))]:
            if text.startswith(("python ", "make ", "./", ". ", "pip ")):
                for command in text.split("&&"):
                    yield page.name, shlex.split(command, comments=True)


COMMANDS = list(commands())


def those_of(*start: str) -> list[tuple[str, list[str]]]:
    """(page, the words that follow) of the commands that begin so, each once."""
    found = {tuple(words): page for page, words in COMMANDS if words[: len(start)] == list(start)}
    return [(page, list(words[len(start) :])) for words, page in found.items()]


def name(value: object) -> str:
    return " ".join(value) if isinstance(value, list) else str(value)


@pytest.mark.parametrize(("page", "arguments"), those_of(*LAUNCH), ids=name)
def test_a_launch_line_describes_an_experiment(page: str, arguments: list[str]) -> None:
    is_sweep = "-m" in arguments
    overrides = [word for word in arguments if word not in ("-m", "--help", "--cfg", "job")]
    if not is_sweep:
        assert isinstance(compose(overrides), Experiment)
        return
    request = plan.read_request(overrides)
    points = plan.corners(request) if is_search(request) else plan.grid(request)
    assert points


@pytest.mark.parametrize(("page", "arguments"), those_of(*VERB), ids=name)
def test_a_verb_is_understood(page: str, arguments: list[str]) -> None:
    if "--help" not in arguments and len(arguments) > 1:  # "python -m reasoning_lab ask" names it
        options = _parser().parse_args(arguments)
        composed = compose_rewards if arguments[0] == "lint-reward" else compose
        composed(vars(options).get("overrides", []))


@pytest.mark.parametrize(("page", "arguments"), those_of("make"), ids=name)
def test_make_knows_its_target(page: str, arguments: list[str]) -> None:
    dry_run = ["make", "--dry-run", "--always-make", *arguments]
    done = subprocess.run(dry_run, cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_there_are_commands_of_every_kind() -> None:
    assert len(those_of(*LAUNCH)) > 20
    assert {words[0] for _, words in those_of(*VERB)} >= {
        *("ask", "evaluate", "resume", "data", "lint-reward", "compare", "watch", "dashboard")
    }
    assert {words[0] for _, words in those_of("make")} >= {"run", "test", "test-all", "bench"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_page_of_docs_begins_with_a_command(page: Path) -> None:
    if page.parent.name == "docs":
        title, _, fence, command, *_ = page.read_text("utf-8").splitlines()
        assert title.startswith("# ")
        assert fence == "```sh"
        assert command.startswith(("python ", "make "))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


def test_links_lead_somewhere() -> None:
    links = [(page, target) for page in PAGES for target in LINK.findall(prose(page))]
    assert len(links) > 20
    for page, target in links:
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(linked), f"{page.name}: {target}"


def drawn(page: Path) -> Iterator[str]:
    """Paths in the block that draws the project: folders, and their entries indented below."""
    [block] = [text for lang, text in fenced(page) if not lang and text.startswith("launch.py ")]
    folder = ""
    for line in block.splitlines():
        entry = line.split()[0]
        if line.startswith(" "):
            yield folder + entry
        else:
            yield entry
            folder = entry


def test_the_readme_draws_what_is_there() -> None:
    paths = list(drawn(REPOSITORY / "README.md"))
    assert len(paths) > 10
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []


def test_the_architecture_page_names_every_file() -> None:
    folders = (REPOSITORY / "reasoning_lab", REPOSITORY / "hydra_plugins")
    modules = [file for folder in folders for file in folder.rglob("*.py")]
    there = {str(file.relative_to(REPOSITORY)) for file in modules if file.stem != "__init__"}
    named = list(drawn(REPOSITORY / "docs/architecture.md"))
    assert sorted(path for path in named if path.endswith(".py")) == sorted({"launch.py", *there})

from pathlib import Path

import pytest
from pydantic import ValidationError

from reasoning_lab.config import ConfigError
from reasoning_lab.rewards.function import Function
from reasoning_lab.rewards.scoring import prepare, score_attempts
from tests.rewards.attempts import answered

MODULE = """
LIMIT = 3

def brevity(attempts):
    return [1 / len(attempt.completion) for attempt in attempts]
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package with good and bad modules; each test has its own, as modules are cached."""
    name = f"package_{tmp_path.parent.name}_{tmp_path.name}".replace("-", "_")
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "good.py").write_text(MODULE)
    (folder / "wrong.py").write_text("1 / 0")
    (folder / "unread.py").write_text("def (")
    (folder / "lacking.py").write_text("import no_such_library")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("REASONING_LAB_ALLOW_TARGETS", name)
    return name


def test_a_function_is_called_with_all_attempts(package: str) -> None:
    function = Function(path=f"{package}.good.brevity")
    function.prepare("short")
    attempts = [answered("1"), answered("22")]
    scores = score_attempts({"short": function}, attempts, timeout_seconds=10)
    assert scores.components["short"].tolist() == [1 / len(one.completion) for one in attempts]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("good.brevty", "Did you mean brevity?"),
        ("good.LIMIT", "is not a function. There is: brevity."),
        ("none.brevity", "No module named .* PYTHONPATH"),
        ("wrong.brevity", "ZeroDivisionError"),
        ("unread.brevity", "SyntaxError"),
        ("lacking.brevity", "No module named 'no_such_library'"),
    ],
)
def test_a_function_that_cannot_be_imported_is_explained(
    package: str, path: str, told: str
) -> None:
    function = Function(path=f"{package}.{path}")
    with pytest.raises(ConfigError, match=told) as error:
        prepare({"mine": function})
    assert str(error.value).startswith(f"reward.mine.path={package}.{path}: ")
    assert error.value.keys == ("reward.mine.path",)
    with pytest.raises(ConfigError, match=told):  # of one that was not prepared too
        score_attempts({"mine": function}, [answered("1")], timeout_seconds=10)


def test_a_package_of_yours_needs_an_opt_in(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REASONING_LAB_ALLOW_TARGETS")
    with pytest.raises(ConfigError, match=f"REASONING_LAB_ALLOW_TARGETS={package}"):
        Function(path=f"{package}.good.brevity").prepare("mine")
    with pytest.raises(ConfigError, match="only functions of reasoning_lab may be named"):
        Function(path="os.system").prepare("mine")


@pytest.mark.parametrize("path", ["", "brevity", "a..b", ".a", "a.", "a b.c", "a.b()", "a-b.c"])
def test_a_path_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match=r"as my_package\.my_rewards\.brevity"):
        Function(path=path)

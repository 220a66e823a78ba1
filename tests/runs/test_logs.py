import io
import logging
import warnings
from pathlib import Path

import pytest
from rich.console import Console

from reasoning_lab.runs.logs import logging_to


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=120, force_terminal=True)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_our_messages_reach_both_and_library_noise_neither(
    tmp_path: Path, console: Console
) -> None:
    with logging_to(tmp_path / "log.txt", console):
        logging.getLogger("reasoning_lab.stages.sft").info("training")
        logging.getLogger("absl").info("orbax chatter")
        logging.getLogger("jax._src.xla_bridge").info("no TPU")
        logging.getLogger("orbax").warning("worth a look")
    for text in (shown(console), (tmp_path / "log.txt").read_text()):
        assert "training" in text
        assert "worth a look" in text
        assert "chatter" not in text
        assert "TPU" not in text


def test_escape_codes_never_reach_the_file(tmp_path: Path, console: Console) -> None:
    with logging_to(tmp_path / "log.txt", console):
        log = logging.getLogger("reasoning_lab")
        log.info("\x1b[1;31mred\x1b[0m \x1b]8;;https://a.example\x1b\\link\x1b]8;;\x1b\\ 50%%\r")
        try:
            raise ValueError("\x1b[31mbad\x1b[0m")
        except ValueError:
            log.exception("failed")
    text = (tmp_path / "log.txt").read_text()
    assert "red link 50%" in text
    assert "ValueError: bad" in text
    assert "\x1b" not in text
    assert "\r" not in text


def test_python_warnings_go_to_the_file_only(tmp_path: Path, console: Console) -> None:
    with logging_to(tmp_path / "log.txt", console), warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)  # pytest's own capture stands before it
        warnings.warn("an old habit", stacklevel=1)
    assert "an old habit" in (tmp_path / "log.txt").read_text()
    assert "an old habit" not in shown(console)


def test_a_resumed_run_appends_and_what_was_set_before_comes_back(
    tmp_path: Path, console: Console
) -> None:
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    for attempt in ("first", "second"):
        with logging_to(tmp_path / "log.txt", console):
            logging.getLogger("reasoning_lab").info(attempt)
    assert (list(root.handlers), root.level) == before
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == ["first", "second"]


def test_a_full_disk_under_the_log_does_not_stop_the_run(
    console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with logging_to(Path("/dev/full"), console):
        logging.getLogger("reasoning_lab").info("still here")
    assert "still here" in shown(console)
    assert capsys.readouterr().err == ""

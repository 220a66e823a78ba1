"""What is shown of a sweep while it goes on: on a terminal, off one, and in runs.md."""

import io
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from reasoning_lab.runs.folder import RunFolder
from reasoning_lab.runs.status import StatusWriter, mark_failed
from reasoning_lab.sweeps import view as view_module
from reasoning_lab.sweeps.folder import SweepFolder
from reasoning_lab.sweeps.plan import grid, read_request
from reasoning_lab.sweeps.state import RunState
from reasoning_lab.sweeps.view import (
    SweepView,
    as_markdown,
    console_of_its_own,
    in_words,
    overall,
    seconds_left,
    watch,
    watching,
)
from tests.sweeps.fake_runs import write_run


def console(*, height: int = 25, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=100, height=height, force_terminal=terminal)


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    tmp_path.joinpath("s").mkdir()
    return SweepFolder(tmp_path / "s")


def done(folder: SweepFolder, name: str) -> None:
    with RunFolder.at(folder.path / name).status() as status:
        status.update(4, 4)


def test_every_change_is_said_once(folder: SweepFolder) -> None:
    off = console()
    view = SweepView(folder, ["a", "b"], off)
    view.look()
    assert said(off) == ""
    done(folder, "a")
    view.look()
    view.look()
    mark_failed(RunFolder.at(folder.path / "b").status_path, "ValueError: no\nluck", "")
    view.look()
    assert said(off) == "1/2 done a\n2/2 failed b at step 0: ValueError: no\n"


def test_what_runs_did_before_is_no_news_but_what_ends_meanwhile_is(folder: SweepFolder) -> None:
    off = console()
    done(folder, "a")
    view = SweepView(folder, ["a", "b"], off)
    done(folder, "b")
    view.add(["b", "c"])  # as a search does as soon as a run has ended
    view.look()
    assert said(off) == "2/3 done b\n"
    assert [state.state for state in view.states] == ["done", "done", "waiting"]


def test_the_table_is_in_a_file_too(folder: SweepFolder) -> None:
    view = SweepView(folder, ["a"], console())
    assert "| a | waiting |" in folder.table_path.read_text()
    done(folder, "a")
    view.look()
    assert "| a | done | 4/4 |" in folder.table_path.read_text()


def test_the_file_of_a_sweep_that_is_looked_at_anew_is_not_emptied(folder: SweepFolder) -> None:
    folder.table_path.write_text("as it was")
    SweepView(folder, [], console())
    assert folder.table_path.read_text() == "as it was"


def test_a_full_disk_does_not_stop_the_view(
    folder: SweepFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(view_module, "write_atomically", full)
    off = console()
    view = SweepView(folder, ["a"], off)
    done(folder, "a")
    view.look()
    assert said(off) == "1/1 done a\n"


def test_markdown_keeps_its_columns() -> None:
    text = as_markdown(
        [
            RunState("a", "failed", 1, 4, 90.0, error="ValueError: a|b\nmore"),
            RunState("b", "running", 2, 4, 0.0, headline=("eval/score", 0.12345)),
        ]
    )
    assert text.splitlines() == [
        "| run | state | step | metric | minutes | error |",
        "|---|---|---|---|---|---|",
        r"| a | failed | 1/4 |  | 1.5 | ValueError: a\|b |",
        "| b | running | 2/4 | eval/score 0.123 |  |  |",
    ]


def test_a_table_shows_all_runs_and_the_whole(folder: SweepFolder) -> None:
    done(folder, "a")
    off = console()
    off.print(SweepView(folder, ["a", "b"], console()))
    header, first, second, whole = said(off).splitlines()
    assert header.split() == ["run", "state", "step", "metric", "time", "left"]
    assert first.split()[:3] == ["a", "done", "4/4"]
    assert second.split() == ["b", "waiting"]
    assert whole.startswith("1 of 2 done")


def test_the_most_telling_runs_are_shown_where_there_is_no_room_for_all(
    folder: SweepFolder,
) -> None:
    names = [f"run{number:02}" for number in range(40)]
    for name in names[:30]:
        done(folder, name)
    mark_failed(folder.path / names[7] / "status.json", "ValueError: x", "")
    StatusWriter(RunFolder.at(folder.path / names[35]).status_path)
    narrow = console(height=11)
    narrow.print(SweepView(folder, names, narrow))
    shown = [line.split()[0] for line in said(narrow).splitlines()[1:-1]]
    assert shown == ["run00", "run01", "run02", "run07", "run35"]
    assert "29 of 40 done, 1 running, 1 failed" in said(narrow)


@pytest.mark.parametrize("name", ["rank=[red]2", ":smile:", "[link=x]"])
def test_names_are_shown_as_they_are(folder: SweepFolder, name: str) -> None:
    off = console()
    view = SweepView(folder, [name], off)
    off.print(view)
    mark_failed(RunFolder.at(folder.path / name).status_path, f"ValueError: {name}", "")
    view.look()
    assert said(off).count(name) == 3


def test_paths_are_printed_as_they_are(capfd: pytest.CaptureFixture[str]) -> None:
    with console_of_its_own() as own:
        own.print("Sweep /data/[old]/:smile:[/b]: 2 runs", soft_wrap=True)
    assert capfd.readouterr().out == "Sweep /data/[old]/:smile:[/b]: 2 runs\n"


def state(name: str, seconds: float = 0.0, left: float | None = None) -> RunState:
    return RunState("a", name, seconds=seconds, seconds_left=left)


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([], None),
        ([state("waiting"), state("waiting")], None),
        ([state("running", left=10.0), state("waiting")], None),  # how long will that take?
        ([state("running", left=10.0)], 10.0),
        ([state("running", left=10.0), state("running", left=30.0)], 20.0),
        ([state("done", 20.0), state("done", 40.0), state("waiting")], 30.0),
        ([state("done", 30.0), state("running", left=10.0), state("waiting")], 40.0),
        ([state("done", 30.0), state("running")], 30.0),  # it has recorded nothing yet
        ([state("done", 30.0), state("starting")], 30.0),
        ([state("running"), state("running", left=10.0)], None),
        ([state("done", 30.0), state("failed", 3.0), state("done", 30.0)], None),
    ],
)
def test_the_time_that_is_left_is_estimated(states: list[RunState], expected: float | None) -> None:
    assert seconds_left(states) == expected


def test_all_is_told_in_one_line() -> None:
    states = [state("done", 840.0), state("failed", 2.0), state("waiting"), state("paused")]
    assert overall(states) == "1 of 4 done, 1 failed, 1 paused, about 14 min 00 s left"
    assert overall([state("done", 3.0)]) == "1 of 1 done"


def test_a_run_is_told_in_a_few_words() -> None:
    assert in_words(RunState("a", "done", seconds=3725.0)) == "1 h 02 min"
    assert in_words(RunState("a", "done", seconds=4.0, headline=("x", 2.0))) == "x 2, 4 s"
    assert in_words(RunState("a", "failed", step=3, error="E: f\ng")) == "at step 3: E: f"
    assert in_words(RunState("a", "waiting")) == ""


def test_changes_are_noticed_while_others_work(folder: SweepFolder) -> None:
    off = console()
    view = SweepView(folder, ["a", "b"], off)
    with watching(view, off):
        done(folder, "a")
        for _ in range(100):
            if "done a" in said(off):
                break
            time.sleep(0.05)
        assert said(off) == "1/2 done a\n"
        done(folder, "b")
    assert said(off).endswith("2/2 done b\n")  # at the latest in the end
    assert not [thread for thread in threading.enumerate() if "look_on" in thread.name]


@pytest.fixture
def sweep(tmp_path: Path) -> SweepFolder:
    """A sweep of two runs, one of which has ended."""
    words = ["experiment=quick_cpu", f"runs_dir={tmp_path}", "sweep.name=s", "lora.rank=2,4"]
    points = grid(read_request(words))
    sweep = SweepFolder(tmp_path / "sweeps/s")
    sweep.path.mkdir(parents=True)
    sweep.add(points, "python launch.py")
    write_run(points[0])
    return sweep


def test_a_sweep_is_shown_once_off_a_terminal(sweep: SweepFolder) -> None:
    off = console()
    watch(sweep, off)
    first, second, whole = said(off).splitlines()[1:]
    assert first.split() == ["rank=2+seed=0", "done", "4/4", "eval/score", "0.5"]
    assert second.split() == ["rank=4+seed=0", "waiting"]
    assert whole.startswith("1 of 2 done")


def test_a_sweep_is_watched_to_its_end_on_a_terminal(sweep: SweepFolder) -> None:
    on = console(terminal=True)
    thread = threading.Timer(0.7, done, [sweep, "rank=4+seed=0"])
    thread.start()
    watch(sweep, on)
    thread.join()
    assert "2/2 done rank=4+seed=0" in said(on)
    assert "2 of 2 done" in said(on)


def test_runs_that_end_at_the_same_time_are_counted_one_by_one(tmp_path: Path) -> None:
    screen = console()
    view = SweepView(SweepFolder(tmp_path), ["a", "b"], screen)
    for name in ("a", "b"):
        with RunFolder.at(tmp_path / name).status() as status:
            status.update(4, 4)
    view.look()
    assert [line.split()[:3] for line in said(screen).splitlines()] == [
        ["1/2", "done", "a"],
        ["2/2", "done", "b"],
    ]

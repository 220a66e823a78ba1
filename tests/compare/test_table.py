import io
import json
from pathlib import Path

from rich.console import Console

from reasoning_lab.compare import table
from reasoning_lab.compare.compare import compare
from reasoning_lab.compare.comparison import Comparison
from reasoning_lab.compare.record import as_json
from tests.compare.run_folders import write_sweep


def mess(folder: Path) -> Comparison:
    """A sweep in which something of everything went wrong."""
    axes = {"lora.rank": ["8", "16"], "stage.beta": ["0.0", "0.04"]}
    return compare(
        [
            write_sweep(
                folder / "mess", axes, 2,
                failed=["rank=8-beta=0.0-seed=0"],
                killed=["rank=8-beta=0.0-seed=1"],
                corrupt=["rank=8-beta=0.04-seed=1"],
                waiting=["rank=16-beta=0.0-seed=1"],
            )
        ]
    )  # fmt: skip


def on_screen(comparison: Comparison, width: int = 200) -> str:
    console = Console(file=io.StringIO(), width=width)
    table.show(comparison, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def line_with(text: str, *parts: str) -> str:
    return next(line for line in text.splitlines() if all(part in line for part in parts))


def test_the_screen_shows_settings_failures_and_the_verdict(tmp_path: Path) -> None:
    comparison = mess(tmp_path)
    text = on_screen(comparison)
    unended = line_with(text, "lora.rank=8 stage.beta=0.0 ")
    assert "1 failed, 1 killed" in unended
    assert "10/20" in unended
    assert "1 done, 1 waiting" in line_with(text, "lora.rank=16 stage.beta=0.0 ")
    assert "the loss of step 7 is nan" in line_with(text, "rank=8-beta=0.0-seed=0", "failed")
    assert "metrics.jsonl: 2 of 24 lines" in text
    assert comparison.verdict.headline[:60] in text
    assert f"  {comparison.verdict.next_command}\n" in text


def test_a_narrow_screen_cuts_nothing_off(tmp_path: Path) -> None:
    text = on_screen(mess(tmp_path), width=60)
    assert "…" not in text
    assert "sweep.retry_failed=true" in text


def test_brackets_in_names_are_text_and_no_markup(tmp_path: Path) -> None:
    axes = {"lora.target_modules": ["[q_proj]", "[q_proj,v_proj]"]}
    text = on_screen(compare([write_sweep(tmp_path / "s", axes, 1)]))
    assert "lora.target_modules=[q_proj]" in text


def test_nothing_shown_is_no_number(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "s", {"lora.rank": ["8", "16"]}, 1)
    comparison = compare([sweep], metric_name="eval/score")  # one seed, and no problems to pair
    for text in (on_screen(comparison), table.as_markdown(comparison), as_json(comparison)):
        words = text.lower().replace("nan is", "").split()
        assert not {"nan", "inf", "-inf", "+inf", "infinity"} & {w.strip('",[]') for w in words}


def test_markdown_is_tables_with_the_verdict_above(tmp_path: Path) -> None:
    comparison = mess(tmp_path)
    text = table.as_markdown(comparison)
    assert text.startswith(f"# mess\n\n**{comparison.verdict.headline}**\n")
    assert f"```sh\n{comparison.verdict.next_command}\n```" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in tables if "lora.rank" in line}) <= 3
    top = comparison.settings[0].label
    assert f"## What {top} has over the others" in text


def test_the_record_says_the_same_to_programs(tmp_path: Path) -> None:
    comparison = mess(tmp_path)
    record = json.loads(as_json(comparison))
    assert record["verdict"]["headline"] == comparison.verdict.headline
    assert [setting["label"] for setting in record["settings"]] == [
        setting.label for setting in comparison.settings
    ]
    states = {run["name"]: run["state"] for run in record["runs"]}
    assert states["rank=8-beta=0.0-seed=0"] == "failed"
    assert record["settings"][-1]["estimate"] is None
    assert set(record["differences"]) == {"lora.rank", "stage.beta", "seed"}

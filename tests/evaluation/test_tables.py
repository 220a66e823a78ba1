from io import StringIO
from math import inf

from rich.console import Console

from reasoning_lab.evaluation.metrics import FORMAT, Mean, Row, Summary
from reasoning_lab.evaluation.tables import (
    format_markdown,
    format_table,
    results_markdown,
    results_table,
)

BASE = Summary("base", (Row("all", "correct", 0, 64, 0.0, 0.0566),))
TUNED = Summary(
    "tuned",
    (
        Row("all", "correct", 60, 64, 0.85, 0.9754),
        Row("addition", "correct", 32, 32, 0.893, 1.0),
    ),
)


def test_markdown_has_a_column_per_summary_and_a_dash_where_one_has_no_such_row() -> None:
    lines = results_markdown([BASE, TUNED]).splitlines()

    assert lines[:4] == [
        "| domain | metric | base | tuned |",
        "| --- | --- | ---: | ---: |",
        "| all | correct | 0/64 0% [0–6] | 60/64 94% [85–98] |",
        "| addition | correct | – | 32/32 100% [89–100] |",
    ]
    assert "Wilson" in lines[-1]


def test_table_shows_every_cell_on_80_columns() -> None:
    screen = StringIO()
    Console(file=screen, width=80).print(results_table([BASE, TUNED, TUNED]))

    for cell in ("metric", "addition", "tuned", "0/64 0% [0–6]", "60/64 94% [85–98]", "Wilson"):
        assert cell in screen.getvalue()


def test_lengths_truncation_and_pass_at_k_are_shown() -> None:
    full = Summary(
        "GRPO",
        (
            Row("all", "truncated", 5, 64, 0.03, 0.17),
            Row("sums", "both_tags", 32, 32, 0.89, 1.0),
            Row("sums", "correct", 30, 32, 0.80, 0.98),
        ),
        (
            Mean("all", "reasoning_chars", 51.26, 64, 48.0, 54.5),
            Mean("all", "reasoning_steps", 2.0, 1, 0.0, inf),
            Mean("sums", "reasoning_chars", 50.0, 32, 48.0, 54.5),
        ),
        (Mean("all", "reward", 0.751, 64, 0.7, 0.8), Mean("sums", "reward", 0.5, 32, 0.4, 0.6)),
        (Mean("all", "pass_at_8", 0.81, 64, 0.704, 0.906),),
    )
    lines = results_markdown([full]).splitlines()

    assert lines[2:9] == [
        "| all | truncated ↓ | 5/64 8% [3–17] |",
        "|  | pass@8 | 81% [70–91] |",
        "|  | reward | 0.75 [0.70–0.80] |",
        "|  | reasoning chars | 51.3 [48.0–54.5] |",
        "|  | reasoning steps | 2.0 |",
        "| sums | correct | 30/32 94% [80–98] |",
        "|  | reward | 0.50 [0.40–0.60] |",
    ]
    for part in ("less is better", "mean over completions", "within k samples"):
        assert part in lines[-1]
    assert "pass@k" not in results_markdown([TUNED])


def test_four_models_on_80_columns_hide_nothing() -> None:
    rows = tuple(
        Row(group, metric, 256, 256, 0.985, 1.0)
        for group in ("all", "word problems")
        for metric in ("reasoning_not_empty", "correct")
    )
    lengths = (Mean("all", "reasoning_chars", 151.2, 256, 148.0, 154.6),)
    names = ("base, zero-shot", "base, 4-shot", "SFT", "GRPO")
    screen = StringIO()
    table = results_table([Summary(name, rows, lengths) for name in names])
    Console(file=screen, width=80).print(table)

    assert "…" not in screen.getvalue()
    assert screen.getvalue().count("[98–100]") == 12
    assert screen.getvalue().count("[148–155]") == 4


def test_the_format_is_reported_by_domain() -> None:
    rows = [
        Row(group, metric, count, 4, 0.0, 1.0)
        for group, count in (("all", 3), ("code", 2))
        for metric in (*FORMAT, "truncated")
    ]
    lines = format_markdown(Summary("SFT", tuple(rows))).splitlines()
    assert lines[0] == "Format by domain, SFT:"
    assert lines[2] == (
        "| domain | both tags | reasoning not empty | no stray tags | well formed |"
    )
    assert lines[4:] == ["| all | 3/4 | 3/4 | 3/4 | 3/4 |", "| code | 2/4 | 2/4 | 2/4 | 2/4 |"]
    screen = StringIO()
    Console(file=screen, width=80).print(format_table(Summary("SFT", tuple(rows))))
    assert "code" in screen.getvalue()
    assert "…" not in screen.getvalue()

from io import StringIO

from rich.console import Console

from reasoning_lab.evaluation.metrics import Row, Summary
from reasoning_lab.evaluation.tables import results_markdown, results_table

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

    for cell in ("domain", "addition", "tuned", "0/64 0% [0–6]", "60/64 94% [85–98]", "Wilson"):
        assert cell in screen.getvalue()

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from reasoning_lab.config import ConfigError
from reasoning_lab.data.example import Dropped, Example
from reasoning_lab.data.mixture import build_mixture
from reasoning_lab.data.sources.running_sum import RunningSum
from reasoning_lab.data.sources.table import Table
from reasoning_lab.data.specs import DataSpec

ROWS = [
    {"question": f"What is {n} + 1?", "reasoning": f"{n} + 1 = {n + 1}.", "answer": f"{n + 1}"}
    for n in range(10)
]


def read(source: Table, seed: int = 0) -> list[Example]:
    found = list(source.examples(name="mine", seed=seed))
    return [one for one in found if isinstance(one, Example)]


def write_jsonl(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def write_csv(path: Path) -> Path:
    lines = [f'"{row["question"]}",{row["reasoning"]},{row["answer"]}' for row in ROWS]
    path.write_text("\n".join(["question,reasoning,answer", *lines]), encoding="utf-8-sig")
    return path


def write_json(path: Path) -> Path:
    path.write_text(json.dumps(ROWS), encoding="utf-8")
    return path


def write_parquet(path: Path) -> Path:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    return path


def test_all_kinds_of_file_give_the_same_examples(tmp_path: Path) -> None:
    files = [
        write_jsonl(tmp_path / "a.jsonl", ROWS),
        write_json(tmp_path / "a.json"),
        write_csv(tmp_path / "a.csv"),
        write_parquet(tmp_path / "a.parquet"),
    ]
    first, *others = (
        [replace(one, id=one.id.replace(str(file), "a")) for one in read(Table(path=str(file)))]
        for file in files
    )

    assert sorted(example.question for example in first) == sorted(r["question"] for r in ROWS)
    assert first[0].reasoning is not None
    assert first[0].reasoning.endswith(f"= {first[0].answer}.")
    assert others == [first, first, first]


def test_rows_are_shuffled_by_seed(tmp_path: Path) -> None:
    source = Table(path=str(write_jsonl(tmp_path / "a.jsonl", ROWS)))

    assert read(source) == read(source) != read(source, seed=1)


def test_a_folder_is_read_whole_but_for_other_files(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", ROWS[:4])
    write_jsonl(tmp_path / "b.jsonl", ROWS[4:])
    (tmp_path / "README.md").write_text("not a table")

    assert len(read(Table(path=str(tmp_path)))) == 10


def test_csv_cells_keep_their_spelling(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("question,reasoning,answer\nprice?,,1.50\ncode?,NA,007\n")

    found = {example.question: example for example in read(Table(path=str(file)))}
    assert (found["price?"].answer, found["code?"].answer) == ("1.50", "007")
    assert (found["price?"].reasoning, found["code?"].reasoning) == (None, "NA")


def test_a_cell_may_be_long(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("question,reasoning,answer\nq," + 300_000 * "x" + ",1\n")
    (example,) = read(Table(path=str(file)))
    assert len(example.reasoning or "") == 300_000


def test_columns_can_be_named_and_reasoning_left_out(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [{"prompt": "Two?", "gold": 2}])
    source = Table(path=str(file), question="prompt", answer="gold", reasoning=None, domain="mine")

    (example,) = read(source)
    assert (example.question, example.reasoning, example.answer) == ("Two?", None, "2")
    assert example.domain == "mine"


def test_a_separator_splits_trace_and_answer(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"question": "Cats?", "answer": "1 + 1 = 2\n#### 2"}]
    file = write_jsonl(tmp_path / "a.jsonl", rows)

    (example,) = read(Table(path=str(file), separator="####"))
    assert (example.reasoning, example.answer) == ("1 + 1 = 2", "2")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.jsonl", "", "holds no rows"),
        ("a.json", "[]", "holds no rows"),
        ("a.jsonl", '{"question": "a"}\n{"question": ', "line 2 is not JSON"),
        ("a.jsonl", "[1, 2]", "one object per problem"),
        ("a.json", "{", "cannot be read"),
        ("a.csv", 'question,answer\n"open,1', "cannot be read"),
        ("a.parquet", "not parquet", "cannot be read"),
        ("a.csv", "prompt,target\na,b", "no column question, reasoning, answer; it has prompt, t"),
        ("a.csv", "question,reasoning,answer\n1 + 1?,,\n", "row 1 of .* has an empty answer"),
        ("a.csv", "question,reasoning,answer\n  ,x,2\n", "row 1 of .* has an empty question"),
        ("a.csv", "question,reasoning,answer\nshort row\n", "row 1 of .* has an empty answer"),
        ("a.csv", "question,reasoning,answer\nq,<reasoning>r,2\n", "already holds <reasoning>"),
        ("a.json", '{"0": {"question": "a"}, "1": ', "cannot be read"),
        ("a.json", '[{"question": "a"} {}]', "cannot be read"),
        ("a.json", '[{"question": "a"},]', "cannot be read"),
        ("a.json", "[] []", "text behind the end"),
        ("a.txt", "question", "holds no table"),
    ],
)
def test_a_table_that_cannot_be_used_is_explained(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text)

    with pytest.raises(ConfigError, match=message):
        read(Table(path=str(tmp_path / name)))


def test_bytes_that_are_not_text_are_explained(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ConfigError, match="cannot be read"):
        read(Table(path=str(tmp_path / "a.jsonl")))


def test_a_missing_path_names_the_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.sources\.mine\.path=.*does not exist") as error:
        read(Table(path=str(tmp_path / "nowhere.jsonl")))
    assert error.value.keys == ("data.sources.mine.path",)


def test_a_hub_data_set_that_cannot_be_reached_is_explained(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="give the local path"):
        read(Table(path="hf:nobody/no-such-data-set"))


def test_a_table_gives_all_its_rows_unless_told_otherwise(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "mine.jsonl", ROWS)
    spec = DataSpec(sources={"mine": Table(path=str(path))})
    mixture = build_mixture(spec, held_out=4, seed=0)
    assert (len(mixture.held_out), len(mixture.train)) == (4, 6)


def test_the_splits_of_a_folder_are_told_by_the_names_of_its_files(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train-0.jsonl", ROWS[:4])
    write_jsonl(tmp_path / "train-1.jsonl", ROWS[4:6])
    write_jsonl(tmp_path / "test.jsonl", ROWS[6:])
    table = Table(path=str(tmp_path), held_out_split="test")

    mixture = build_mixture(DataSpec(sources={"mine": table}), held_out=3, seed=0)
    questions = [row["question"] for row in ROWS]
    assert {example.question for example in mixture.train} == set(questions[:6])
    assert {example.question for example in mixture.held_out} < set(questions[6:])
    assert all(example.id.startswith(f"{tmp_path}: test row") for example in mixture.held_out)


def test_a_held_out_split_that_shares_questions_is_refused(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", ROWS[:6])
    write_jsonl(tmp_path / "test.jsonl", [{**ROWS[5], "question": " WHAT is 5+1?"}, *ROWS[6:]])
    table = Table(path=str(tmp_path), held_out_split="test")

    told = r"held_out_split=test shares 1 of its 5 questions .* 'WHAT is 5\+1\?'.*=null"
    with pytest.raises(ConfigError, match=told) as error:
        build_mixture(DataSpec(sources={"mine": table}), held_out=1, seed=0)
    assert error.value.keys == ("data.sources.mine.held_out_split",)


def test_a_split_without_a_file_is_explained(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "train.jsonl", ROWS)
    for path in (file, tmp_path):
        table = Table(path=str(path), held_out_split="test")
        with pytest.raises(ConfigError, match="no file whose name begins with test") as error:
            build_mixture(DataSpec(sources={"mine": table}), held_out=1, seed=0)
        assert "data.sources.mine.held_out_split=null" in str(error.value)


@pytest.mark.parametrize(
    ("form", "answer"),
    [
        ("think", "<think>1 + 1 = 2.</think>2"),
        ("thought_output", "<Thought>1 + 1 = 2.</Thought> <Output>2</Output>"),
        ("tags", "<reasoning>1 + 1 = 2.</reasoning><answer>2</answer>"),
    ],
)
def test_reasoning_can_stand_in_the_answer_column(tmp_path: Path, form: Any, answer: str) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [{"question": "1 + 1?", "answer": answer}])

    (example,) = read(Table(path=str(file), format=form))
    assert (example.reasoning, example.answer) == ("1 + 1 = 2.", "2")


def test_a_bad_row_stops_or_is_dropped_with_its_reason(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"question": "a?", "answer": "<think>x</think>1"},
        {"question": "b?", "answer": "<think></think>2"},
        {"question": "c?", "answer": "<think>x</think>"},
        {"question": "d?", "answer": "<think>x"},
        {"question": "", "answer": "<think>x</think>1"},
    ]
    file = write_jsonl(tmp_path / "a.jsonl", rows)

    with pytest.raises(ConfigError, match=r"row 2 of .* empty reasoning.*on_bad_row=drop"):
        read(Table(path=str(file), format="think", shuffle_buffer=1))
    source = Table(path=str(file), format="think", on_bad_row="drop", shuffle_buffer=1)
    good, *bad = source.examples(name="mine", seed=0)
    assert isinstance(good, Example)
    assert all(isinstance(one, Dropped) for one in bad)
    assert [(one.id, one.reason) for one in bad if isinstance(one, Dropped)] == [
        (f"{file}: row 2", "empty reasoning"),
        (f"{file}: row 3", "no answer"),
        (f"{file}: row 4", "unfinished reasoning"),
        (f"{file}: row 5", "no question"),
    ]
    assert [one.text for one in bad if isinstance(one, Dropped)][
        2
    ] == "question: d? | answer: <think>x"


def test_options_tests_and_a_document_say_how_a_row_is_judged(tmp_path: Path) -> None:
    row: dict[str, object] = {"question": "Q?", "reasoning": "r", "answer": "b"}
    row |= {"options": ["a", "b"], "tests": ["assert f()"], "text": "Long."}
    file = str(write_jsonl(tmp_path / "a.jsonl", [row]))

    (choice,) = read(Table(path=file, options="options"))
    assert (choice.kind, choice.options, choice.answer) == ("choice", ("a", "b"), "B: b")
    assert choice.question == "Q?\nA: a\nB: b"
    (code,) = read(Table(path=file, tests="tests"))
    assert (code.kind, code.tests) == ("code", ("assert f()",))
    (summary,) = read(Table(path=file, document="text", kind="open"))
    assert (summary.kind, summary.document) == ("open", "Long.")
    with pytest.raises(ConfigError, match="no column choices"):
        read(Table(path=file, options="choices"))
    with pytest.raises(ValidationError, match="exclude each other"):
        Table(path=file, options="options", tests="tests")
    with pytest.raises(ValidationError, match="exclude each other"):
        Table(path=file, separator="#", format="think")


def test_an_endless_source_must_say_how_many_rows() -> None:
    with pytest.raises(ValidationError, match="how many rows"):
        RunningSum(rows=None)

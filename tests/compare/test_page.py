"""The page of a comparison, read as a browser would read it."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from plotly.offline import get_plotlyjs_version

from reasoning_lab.compare.comparison import Comparison, Metric, Verdict
from reasoning_lab.compare.page.page import for_script, write_page
from tests.compare.comparisons import answers, comparison, run, series, sweep

NASTY = (
    '</script><script>alert(1)</script><img src=x onerror=alert(2)><b>&\u2028"'
    "' %{x} </textarea><!-- ${alert(3)}"
)
AXES = {"lora.rank": ["4", "8"], "stage.beta": ["0.0", "0.02"]}


class Page(HTMLParser):
    """All tags, all text outside scripts, and all scripts of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.html = path.read_text("utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.scripts: list[str] = []
        self._in: list[str] = []
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        del self._in[len(self._in) - 1 - self._in[::-1].index(tag) :]

    def handle_data(self, data: str) -> None:
        if self._in[-1:] == ["script"]:
            self.scripts[-1] += data
        elif self._in[-1:] != ["style"]:
            self.text += data

    @property
    def sections(self) -> list[str | None]:
        return [about["id"] for tag, about in self.tags if tag == "section"]

    @property
    def data(self) -> Any:
        """What the page's scripts read."""
        assert ("script", {"type": "application/json", "id": "data"}) in self.tags
        return json.loads(self.scripts[0])


def written(what: Comparison, folder: Path) -> Page:
    return Page(write_page(what, folder))


def test_the_page_and_its_script_are_all_that_is_written(tmp_path: Path) -> None:
    page = write_page(sweep(AXES, 2), tmp_path / "report")
    assert page == tmp_path / "report" / "index.html"
    assert sorted(path.name for path in page.parent.iterdir()) == ["index.html", "plotly.min.js"]


def test_the_network_is_named_only_where_the_script_may_be_missing(tmp_path: Path) -> None:
    page = written(sweep(AXES, 2), tmp_path)
    address = f"https://cdn.plot.ly/plotly-{get_plotlyjs_version()}.min.js"
    assert re.findall(r"https?://[^\"'\s<]+", page.html) == [address]
    assert '"sha256-' in next(script for script in page.scripts if address in script)
    loaded = [about for _, about in page.tags if "src" in about]
    links = [about["href"] or "" for _, about in page.tags if "href" in about]
    assert all(link.startswith("#") for link in links)
    assert loaded == [{"src": "plotly.min.js", "onerror": "plotlyFromNetwork()"}]


def test_a_full_sweep_has_all_sections_but_failures(tmp_path: Path) -> None:
    page = written(sweep(AXES, 2), tmp_path)
    assert page.sections == [
        *("settings", "scores", "curves", "axes", "pairs", "parallel", "cost"),
        *("domains", "parts", "config", "prompts"),
    ]
    charts = [about["data-figure"] for _, about in page.tags if "data-figure" in about]
    assert charts
    assert charts == list(page.data["figures"])
    ids = [about["id"] for _, about in page.tags if "id" in about]
    assert len(ids) == len(set(ids))


def test_ids_that_scripts_look_for_are_on_the_page(tmp_path: Path) -> None:
    page = written(sweep(AXES, 2), tmp_path)
    ids = {about["id"] for _, about in page.tags if "id" in about}
    looked_for = set(re.findall(r'getElementById\("([\w-]+)"\)', page.html))
    assert looked_for - ids == set()
    assert {"metric", "colour", "runs", "raw", "bands", "strips", "prompt", "disagree"} <= ids


def test_one_axis_needs_no_pairs(tmp_path: Path) -> None:
    page = written(sweep({"lora.rank": ["4", "8", "16"]}, 1), tmp_path)
    assert {"axes", "scores"} <= set(page.sections)
    assert not {"pairs", "parallel"} & set(page.sections)


@pytest.mark.parametrize("count", [1, 2])
def test_single_runs_without_axes(tmp_path: Path, count: int) -> None:
    names = [f"20261122-06014{number}-grpo" for number in range(count)]
    runs = [run(name, score=0.3 + 0.2 * number) for number, name in enumerate(names)]
    page = written(comparison(runs, dict.fromkeys(names, 0.5)), tmp_path)
    assert not {"axes", "pairs", "parallel", "failures"} & set(page.sections)
    assert {"settings", "curves", "domains", "prompts"} <= set(page.sections)
    assert ("scores" in page.sections) == (count > 1)


def test_runs_that_all_failed(tmp_path: Path) -> None:
    runs = [
        run(f"r{n}", state="failed", steps=3 * n, error="It diverged.", traceback="line 3: <here>")
        for n in range(2)
    ]
    page = written(comparison(runs, {}), tmp_path)
    assert page.sections == ["settings", "curves", "parts", "failures"]
    assert "2 runs: 2 failed. None has a score yet" in page.text
    assert page.text.count("It diverged.") == 2
    assert "line 3: <here>" in page.text
    assert "step 3 of 6" in page.text


def test_runs_that_have_not_begun(tmp_path: Path) -> None:
    page = written(comparison([run("r", state="waiting", steps=0)], {}), tmp_path)
    assert page.sections == ["settings"]
    assert page.data["curves"] is None
    assert page.data["prompts"] is None


def test_trouble_of_a_run_that_is_done_is_told(tmp_path: Path) -> None:
    runs = [run("r", trouble=("metrics.jsonl ends in the middle of a line.",))]
    page = written(comparison(runs, {"r": 0.5}), tmp_path)
    assert "failures" in page.sections
    assert "metrics.jsonl ends in the middle of a line." in page.text


def test_numbers_are_those_of_the_comparison(tmp_path: Path) -> None:
    what = sweep(AXES, 2)
    page = written(what, tmp_path)
    cells = re.findall(r'<td class="number strong" data-value="([^"]*)">([^<]*)<', page.html)
    means = [setting.estimate.mean for setting in what.settings if setting.estimate]
    assert [float(value) for value, _ in cells] == means
    assert [text for _, text in cells] == [f"{mean:.1%}" for mean in means]
    assert page.data["figures"]["scores-0"]["data"][0]["x"] == means
    assert what.verdict.headline in page.text
    assert what.verdict.next_command in page.text
    assert "8 against 4: +12.0 points (+5.0 to +19.0, p = 0.002)" in page.text


def test_seeds_and_states_that_are_not_all_done(tmp_path: Path) -> None:
    runs = [
        run("a", seed=0, overrides={"lora.rank": "4"}),
        run("b", seed=1, overrides={"lora.rank": "4"}, state="running", steps=40),
        run("c", seed=0, overrides={"lora.rank": "8"}, state="killed", steps=5),
    ]
    page = written(comparison(runs, {"a": 0.5}), tmp_path)
    assert "0 (1 of 2)" in page.text
    assert "1 done, running 40/80" in page.text
    assert "none (0 of 1)" in page.text
    assert "3 runs: 1 done, 1 running, 1 killed." in page.text


def saying(text: str) -> Comparison:
    """A sweep in which everything that runs or models can say is `text`."""
    plain = sweep({"lora.rank": ["4", text], "data": ["a", "b"]}, 2)
    written_by_model = tuple(
        replace(
            answer,
            domain=text,
            question=text,
            answer=text,
            completion=f"<reasoning>{text}</reasoning><answer>{text}</answer>",
        )
        for answer in answers(0.5, 6)
    )
    runs = {
        one.name: replace(
            one,
            name=one.name + text,
            state="failed",
            error=text,
            traceback=text,
            trouble=(text,),
            series={**one.series, f"reward/{text}": series([1.0, 2.0])},
            answers={text: written_by_model, "trained": written_by_model},
        )
        for one in plain.runs
    }
    return replace(
        plain,
        title=text,
        metric=Metric(text, text),
        runs=tuple(runs.values()),
        settings=tuple(
            replace(setting, label=text, runs=tuple(runs[one.name] for one in setting.runs))
            for setting in plain.settings
        ),
        differences={text: {one.name: text for one in runs.values()}},
        verdict=Verdict(text, (text,), text, (text,), text, text),
    )


def test_nothing_that_runs_or_models_wrote_is_read_as_html(tmp_path: Path) -> None:
    """Hostile texts change no element, no attribute's name and no script but the data."""
    page, mild = (written(saying(text), tmp_path / str(len(text))) for text in (NASTY, "mild"))
    assert "failures" in page.sections
    assert [(tag, list(about)) for tag, about in page.tags] == [
        (tag, list(about)) for tag, about in mild.tags
    ]
    assert page.scripts[1:] == mild.scripts[1:]
    assert [about for tag, about in page.tags if tag == "script"] == [
        about for tag, about in mild.tags if tag == "script"
    ]
    problem = page.data["prompts"]["problems"][0]
    assert problem["question"] == NASTY
    assert NASTY in problem["answers"][0]["text"]


def test_plotly_gets_no_markup_of_runs(tmp_path: Path) -> None:
    figures = json.dumps(written(saying(NASTY), tmp_path).data["figures"])
    assert set(re.findall(r"<[^>]*>?", figures)) <= {"<br>"}
    assert "&lt;/script&gt;" in figures


def test_json_in_a_script() -> None:
    text = for_script([NASTY, float("nan"), {"a": (1.5, float("inf"))}])
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == [NASTY, None, {"a": [1.5, None]}]


def test_long_completions_are_cut(tmp_path: Path) -> None:
    long = replace(run("r"), answers={"trained": answers(0.5, 40, text="word " * 1000)})
    prompts = written(comparison([long], {"r": 0.5}), tmp_path).data["prompts"]
    assert len(prompts["problems"]) == 24
    text = prompts["problems"][0]["answers"][0]["text"]
    assert len(text) < 2_100
    assert "characters left out]" in text


def test_many_runs_stay_small(tmp_path: Path) -> None:
    axes = {"lora.rank": [*"12345"], "stage.beta": [*"01234"], "data": ["a", "b"]}
    page = written(sweep(axes, 2, steps=1000), tmp_path)
    assert len(page.data["curves"]["runs"]) == 100
    assert len(page.html) < 15_000_000
    assert max(len(metric["steps"]) for metric in page.data["curves"]["metrics"]) <= 240
    assert page.data["curves"]["colour_by"] in axes
    assert "The best 40 of 50 settings." in page.text

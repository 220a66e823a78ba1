"""reasoning-engaging-story: stories planned step by step, each step with its reasoning."""

import re
from collections.abc import Iterator

from pydantic import Field

from reasoning_lab.config import ConfigError, spec
from reasoning_lab.data.conversion import cell, from_columns
from reasoning_lab.data.example import Dropped, Example
from reasoning_lab.data.row_files import Row
from reasoning_lab.data.row_source import DataPath, Licence, Place, RowSource, TakenRows
from reasoning_lab.data.specs import Domain

_REASONING = re.compile(r"(?P<step>.+)_reasoning")
_OF_STEP = ("prompt", "question", "problem", "instruction", "input")
_OF_ROW = ("prompt", "question", "problem", "instruction", "input", "title", "topic", "premise")


@spec
class EngagingStory(RowSource):
    """Pairs of columns story_STEP_reasoning and story_STEP_solution: an example for each pair.

    What is asked stands in story_STEP_prompt (or _question, _problem, _instruction, _input), or in
    a column of this name for the whole row, or in `question`; the step's name is put before it.
    """

    domain: Domain = "creative"
    rows: TakenRows = None
    path: DataPath = "hf:rekrek/reasoning-engaging-story"
    licence: Licence = "Apache-2.0"
    question: str | None = Field(
        default=None, min_length=1, description="column with what the story is about; null: find it"
    )

    def problems(self, row: Row, place: Place, name: str) -> Iterator[Example | Dropped]:
        matches = (_REASONING.fullmatch(column) for column in row)
        steps = [one["step"] for one in matches if one and f"{one['step']}_solution" in row]
        if not steps:
            raise self._unknown(
                place, name, row, "no pair of columns like story_x_reasoning and story_x_solution"
            )
        for step in steps:
            here = Place(id=f"{place.id} {step}", told=f"{place.told}, {step}")
            asked = self._asked(row, step)
            if asked is None:
                raise self._unknown(here, name, row, "no column that says what is asked")
            yield self.example(
                here,
                name,
                question=f"{_words(step)}: {asked}" if asked else "",
                solution=from_columns(row[f"{step}_reasoning"], row[f"{step}_solution"]),
                row=row,
                kind="open",
            )

    def _asked(self, row: Row, step: str) -> str | None:
        columns = [f"{step}_{ending}" for ending in _OF_STEP] + list(_OF_ROW)
        if self.question is not None:
            columns = [self.question]
        return next((cell(row[column]) for column in columns if column in row), None)

    def _unknown(self, place: Place, name: str, row: Row, told: str) -> ConfigError:
        return ConfigError(
            f"{place.told} has {told}; it has {', '.join(row)}. Name a column with "
            f"data.sources.{name}.question=…, or use data=table.",
            keys=[f"data.sources.{name}.question"],
        )


def _words(step: str) -> str:
    """Story world building, for story_world_building."""
    return step.replace("_", " ").capitalize()

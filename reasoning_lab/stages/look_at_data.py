"""What an experiment would train on, before it does: samples, lengths and the funnel."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from reasoning_lab.data.example import Example
from reasoning_lab.data.mixture import FunnelRow, Mixture
from reasoning_lab.engine.models import load_tokenizer
from reasoning_lab.experiment import Experiment
from reasoning_lab.stages import sft
from reasoning_lab.stages.lineage import build_problems
from reasoning_lab.stages.session import check_epochs
from reasoning_lab.stages.specs import GRPOSpec, SFTSpec
from reasoning_lab.stages.tokens import Tokens

_GIVEN, _LEARNT = "bright_black", ("bold green", "bold cyan")  # two, so that tokens show
_QUANTILES = {"median": 0.5, "95%": 0.95, "longest": 1.0}


@dataclass(frozen=True)
class Look:
    """The data of an experiment, as training would get it.

    tokens: {domain: the number of tokens of each training example}; of prompts alone where nothing
        is taught but the answers are sampled.
    epochs: how often the planned steps go over the training examples.
    """

    mixture: Mixture
    tokens: dict[str, list[int]]
    epochs: float
    made: Tokens
    teaches: bool

    @property
    def total_tokens(self) -> int:
        return sum(sum(lengths) for lengths in self.tokens.values())

    def pieces(self, example: Example) -> Iterator[tuple[str, bool]]:
        """(piece of text, whether it is learnt) of every token of an example."""
        if self.teaches:
            taught = self.made.taught(example)
            ids, learnt_from = list(taught.tokens), taught.prompt_length
        else:
            ids = self.made.prompt(example)
            learnt_from = len(ids)
        for number, piece in enumerate(self.made.tokenizer.pieces(ids)):
            yield piece, number >= learnt_from

    def samples(self, count: int) -> list[Example]:
        """The first training examples, as many of each source as of the others."""
        by_source: dict[str, list[Example]] = {row.source: [] for row in self.mixture.funnel}
        for example in self.mixture.train:
            by_source[example.source].append(example)
        turns = (
            examples[turn]
            for turn in range(count)
            for examples in by_source.values()
            if turn < len(examples)
        )
        return list(islice(turns, count))


def look_at(experiment: Experiment) -> Look:
    """Read, filter and tokenise the data of an experiment.

    Raises:
        ConfigError: the data cannot be read, or too little of it is left.
    """
    stage = experiment.stage
    made = Tokens(load_tokenizer(experiment.model), stage)
    mixture = build_problems(experiment, made)
    lengths: dict[str, list[int]] = {}
    for example in mixture.train:
        ids = made.taught(example).tokens if isinstance(stage, SFTSpec) else made.prompt(example)
        lengths.setdefault(example.domain, []).append(len(ids))
    epochs = 0.0
    match stage:
        case SFTSpec():
            epochs = sft.planned_epochs(stage, sft.pack(mixture, made, stage, experiment.seed))
        case GRPOSpec():
            epochs = stage.max_steps * stage.batch_size / len(mixture.train)
    return Look(mixture, lengths, epochs, made, isinstance(stage, SFTSpec))


def print_check(experiment: Experiment) -> None:
    """What `check=true` says of the data, on standard error: standard output holds the config.

    Raises:
        ConfigError: as a run would, before it touches a device.
    """
    console = Console(stderr=True)
    look = look_at(experiment)
    print_removed(look, console)
    for table in (funnel_table(look), stats_table(look)):
        console.print(table)
    console.print(in_a_sentence(look))
    check_epochs(look.epochs, experiment)


def show(look: Look, console: Console, *, count: int) -> None:
    """Print training examples token by token, with what is learnt in colour."""
    for example in look.samples(count):
        text, given, learnt = Text(), 0, 0
        for piece, is_learnt in look.pieces(example):
            text.append(piece, _LEARNT[learnt % 2] if is_learnt else _GIVEN)
            learnt += is_learnt
            given += not is_learnt
        title = Text(f"{example.source} · {example.domain} · {example.id} · {example.licence}")
        subtitle = f"{given} tokens given, {learnt} learnt"
        console.print(Panel(text, title=title, subtitle=subtitle, title_align="left"))
        if not look.teaches:
            console.print(Text(f"answer: {example.answer}"))
    console.print(
        Text.assemble(
            ("grey", _GIVEN), ": given; ", ("green", _LEARNT[0]), " and ", ("cyan", _LEARNT[1]),
            ": learnt, token by token",
        )
        if look.teaches
        else Text("All of it is given: completions are sampled and rewarded.")
    )  # fmt: skip


def stats_table(look: Look) -> Table:
    """Examples and tokens of each domain."""
    table = Table(title="Training examples")
    for number, title in enumerate(["domain", "examples", "share", "tokens", *_QUANTILES]):
        table.add_column(title, justify="right" if number else "left")
    everything = [length for lengths in look.tokens.values() for length in lengths]
    for domain, lengths in look.tokens.items():
        table.add_row(domain, *_numbers(lengths, len(everything)))
    if len(look.tokens) > 1:
        table.add_section()
        table.add_row("all", *_numbers(everything, len(everything)))
    return table


def funnel_table(look: Look) -> Table:
    """Where the rows of each source went: one line a reason."""
    table = Table(title="From rows to training examples")
    table.add_column("source")
    table.add_column("what became of it")
    table.add_column("rows", justify="right")
    table.add_column("share", justify="right")
    for row in look.mixture.funnel:
        table.add_section()
        for number, (what, rows) in enumerate(funnel_lines(row)):
            style = "bold" if what == "kept for training" else ""
            share = f"{rows / row.read:.1%}" if row.read else ""
            name = row.source if not number else ""
            table.add_row(Text(name), Text(what), f"{rows:,}", share, style=style)
    return table


def funnel_lines(row: FunnelRow) -> list[tuple[str, int]]:
    return [
        ("read", row.read),
        ("held out", row.held_out),
        *row.removed.items(),
        ("kept for training", row.kept),
    ]


def in_a_sentence(look: Look) -> str:
    what = "tokens" if look.teaches else "tokens of prompts"
    return (
        f"{len(look.mixture.train):,} training examples of {look.total_tokens:,} {what}; the "
        f"planned steps are {look.epochs:.3g} epochs of them. "
        f"{len(look.mixture.held_out):,} problems are held out."
    )


def print_removed(look: Look, console: Console) -> None:
    """Print a row for each reason that rows were removed for."""
    for row in look.mixture.funnel:
        for reason, texts in row.examples.items():
            console.print(Panel(Text(texts[0]), title=f"{row.source}: {reason}"))


def quantiles(lengths: Sequence[int]) -> list[int]:
    return [int(np.quantile(lengths, q, method="higher")) for q in _QUANTILES.values()]


def _numbers(lengths: Sequence[int], total: int) -> Iterable[str]:
    yield f"{len(lengths):,}"
    yield f"{len(lengths) / total:.0%}"
    yield f"{sum(lengths):,}"
    yield from (f"{length:,}" for length in quantiles(lengths))

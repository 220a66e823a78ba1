"""The work that is measured: the same token ids for every library, a batch a step."""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from reasoning_lab.data.example import Example
from reasoning_lab.data.packing import PackedRows, TokenizedExample
from reasoning_lab.data.sources.gsm_symbolic import GsmSymbolic
from reasoning_lab.data.sources.running_sum import RunningSum
from reasoning_lab.engine.tokenizer import Tokenizer
from reasoning_lab.formats import render_completion

EXAMPLES_PER_STEP = 8
_LONG = range(225, 257)  # tokens


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Batches of examples, and the two layouts in which they are trained.

    The peers pad each example to `pad_to` tokens. Ours packs a batch into `rows` rows of
    `row_length` tokens. Peers take `peer_steps` timed steps a round, ours `our_steps`; all see the
    batches in the same order, from the first.
    """

    name: str
    description: str
    pad_to: int
    rows: int
    row_length: int
    peer_steps: int
    our_steps: int
    batches: tuple[tuple[TokenizedExample, ...], ...]

    def useful_tokens(self, step: int) -> int:
        return sum(len(example.tokens) for example in self.batches[step])

    def target_tokens(self, step: int) -> int:
        return sum(len(e.tokens) - e.prompt_length for e in self.batches[step])

    def packed(self, step: int) -> PackedRows:
        """The examples of one step as the product packs them."""
        packed = PackedRows(
            self.batches[step], max_length=self.row_length, rows_per_batch=self.rows, seed=0
        )
        if len(packed.rows) != self.rows:
            raise ValueError(
                f"workload {self.name}: batch {step} needs {len(packed.rows)} rows of "
                f"{self.row_length} tokens, not {self.rows}"
            )
        return packed

    def padded(self, step: int, pad_id: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
        """Tokens and completion mask of one step, each [examples, pad_to]."""
        batch = self.batches[step]
        tokens = np.full((len(batch), self.pad_to), pad_id, np.int32)
        mask = np.zeros(tokens.shape, np.bool_)
        for row, example in enumerate(batch):
            tokens[row, : len(example.tokens)] = example.tokens
            mask[row, example.prompt_length : len(example.tokens)] = True
        return tokens, mask

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(dataclasses.asdict(self)), "utf-8")

    @classmethod
    def load(cls, path: Path) -> "Workload":
        fields = json.loads(path.read_text("utf-8"))
        batches = tuple(
            tuple(TokenizedExample(**example) for example in batch)
            for batch in fields.pop("batches")
        )
        return cls(**fields, batches=batches)


def short(tokenizer: Tokenizer) -> Workload:
    """Examples of nearly one length, where padding costs the peers little."""
    sums = _tokenized(tokenizer, RunningSum(terms=3).examples(name="short", seed=0))
    return Workload(
        name="short",
        description="8 sums of three terms a step",
        pad_to=64,
        rows=2,
        row_length=256,
        peer_steps=3,
        our_steps=3,
        batches=tuple(tuple(next(sums) for _ in range(EXAMPLES_PER_STEP)) for _ in range(1 + 3)),
    )


def mixed(tokenizer: Tokenizer) -> Workload:
    """One long word problem among short sums, about their share in the default data."""
    two = _tokenized(tokenizer, RunningSum(terms=2).examples(name="two terms", seed=0))
    three = _tokenized(tokenizer, RunningSum(terms=3).examples(name="three terms", seed=0))
    stories = _tokenized(tokenizer, GsmSymbolic(max_chars=700).examples(name="mixed", seed=0))
    long = (story for story in stories if len(story.tokens) in _LONG)

    def batch() -> tuple[TokenizedExample, ...]:
        return (next(long), *(next(source) for source in (two, two, two, two, three, three, three)))

    return Workload(
        name="mixed",
        description="1 word problem of 225 to 256 tokens and 7 sums of two or three terms a step",
        pad_to=256,
        rows=2,
        row_length=320,
        peer_steps=1,
        our_steps=3,
        batches=tuple(batch() for _ in range(1 + 3)),
    )


WORKLOADS = {"short": short, "mixed": mixed}


def _tokenized(tokenizer: Tokenizer, examples: Iterator[Example]) -> Iterator[TokenizedExample]:
    """Without the instruction that our prompts begin with: shorter examples favour nobody."""
    for example in examples:
        assert example.reasoning is not None
        prompt = tokenizer.prompt(example.question)
        completion = tokenizer.completion(render_completion(example.reasoning, example.answer))
        yield TokenizedExample(prompt + completion, len(prompt), example.id)

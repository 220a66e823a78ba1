"""The host side of generation: batches prompts, streams text and applies stop strings.

Shapes are rounded up, so a handful of compiled programs (engine/decoding.py) serves every batch.
"""

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from reasoning_lab.engine.architecture import Architecture
from reasoning_lab.engine.decoding import decode, prefill
from reasoning_lab.engine.layout import on_host
from reasoning_lab.engine.sampling import Sampling
from reasoning_lab.engine.tokenizer import Tokenizer
from reasoning_lab.engine.transformer import Array, Base

SLOTS = 64
"""Prefix, prompt and completion lengths are rounded up to multiples of this many tokens."""


@dataclass(frozen=True)
class Completion:
    """One finished answer.

    `tokens` ends before the end token, `sampled` with it; `log_probs` belong to `sampled`, at the
    temperature of sampling. `truncated` says that the model was still writing when the token limit
    came.
    """

    text: str
    tokens: tuple[int, ...]
    truncated: bool
    sampled: tuple[int, ...] = field(default=(), compare=False)
    log_probs: tuple[float, ...] = field(default=(), compare=False)


@dataclass(frozen=True, kw_only=True)
class Generator:
    """Generates with one set of weights. `params=None` gives the base model."""

    arch: Architecture
    base: Base
    tokenizer: Tokenizer
    params: Any | None = None
    target_modules: tuple[str, ...] = ()
    lora_scale: float = 0.0
    batch_size: int = 32
    stop: str | None = None  # text at which a completion ends, itself included
    check_every: int = 16  # tokens between looks at the stop string
    mesh: Mesh | None = None

    def complete(
        self,
        prompts: Sequence[list[int]],
        max_new_tokens: int,
        *,
        temperature: float = 0.0,
        seed: int = 0,
        on_progress: Callable[[int], None] = lambda done: None,
    ) -> list[Completion]:
        """Complete token-id prompts, in order. Temperature 0 is greedy.

        Args:
            on_progress: called after each batch with the number of prompts completed so far.
        """
        completions: dict[int, Completion] = {}
        keys, sampling = _keys(seed, len(prompts)), Sampling(temperature=temperature)
        for indices in self._batches(prompts):
            batch = _Prompts.with_common_prefix([prompts[i] for i in indices], self.batch_size)
            chosen = keys[np.array(indices)]
            states = self._run(batch, max_new_tokens, self.check_every, sampling, chosen)
            *_, last = states
            completions.update(zip(indices, last, strict=True))
            on_progress(len(completions))
        return [completions[i] for i in range(len(prompts))]

    def complete_groups(
        self,
        prompts: Sequence[list[int]],
        num_generations: int,
        *,
        max_prompt_length: int,
        max_new_tokens: int,
        sampling: Sampling,
        seed: int | Array,
        closing: str | None = None,
    ) -> list[Completion]:
        """`num_generations` completions of each prompt, one after another.

        Each prompt is read once. All shapes follow from the arguments that are numbers and from
        `batch_size`: calls that differ in the prompts alone run the same programs.

        Args:
            prompts: token ids, each of at most `max_prompt_length`.
            closing: text one token after which a completion ends.
        """
        groups = min(len(prompts), max(1, self.batch_size // num_generations))
        keys = _keys(seed, len(prompts) * num_generations)
        completions: list[Completion] = []
        for start in range(0, len(prompts), groups):
            batch = _Prompts.in_groups(
                prompts[start : start + groups], num_generations, groups, max_prompt_length
            )
            rows = slice(start * num_generations, (start + groups) * num_generations)
            *_, last = self._run(
                batch, max_new_tokens, max_new_tokens, sampling, keys[rows], closing, max_new_tokens
            )
            completions += last
        return completions

    def stream(
        self,
        prompt: list[int],
        max_new_tokens: int,
        *,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Iterator[str]:
        """The text of one completion, piece by piece."""
        shown, text = 0, ""
        batch = _Prompts.with_common_prefix([prompt], 1)
        sampling = Sampling(temperature=temperature)
        for completion, *_ in self._run(batch, max_new_tokens, 2, sampling, _keys(seed, 1)):
            text = completion.text
            # The bytes of a character may still be incomplete: hold back what may change.
            settled = len(text.rstrip("\ufffd"))
            if settled > shown:
                yield text[shown:settled]
                shown = settled
        if len(text) > shown:
            yield text[shown:]

    def _batches(self, prompts: Sequence[list[int]]) -> Iterator[list[int]]:
        """Indices of prompts that begin alike, so that their common prefix is read once."""
        order = sorted(range(len(prompts)), key=lambda i: prompts[i])
        for start in range(0, len(order), self.batch_size):
            yield order[start : start + self.batch_size]

    def _run(
        self,
        prompts: "_Prompts",
        max_new_tokens: int,
        check_every: int,
        sampling: Sampling,
        keys: Array,
        closing: str | None = None,
        room: int | None = None,
    ) -> Iterator[list[Completion]]:
        """All completions so far, after every `check_every` tokens."""
        rows, count = len(prompts.last), prompts.count
        closing_ids = np.array(self.tokenizer.encode(closing) if closing else [], np.int32)
        scale = np.float32(self.lora_scale)
        static = {"arch": self.arch, "target_modules": self.target_modules, "mesh": self.mesh}
        common, state = prefill(
            self.params,
            self.base,
            prompts.shared,
            prompts.shared_lengths,
            prompts.own,
            prompts.own_lengths,
            prompts.last,
            np.arange(rows) >= count,
            scale,
            room=room or round_up(max_new_tokens, SLOTS),
            closing_length=len(closing_ids),
            **static,
        )
        keys = keys[np.minimum(np.arange(rows), count - 1)]
        done = 0
        while True:
            done = min(done + check_every, max_new_tokens)
            state = decode(
                self.params,
                self.base,
                common,
                state,
                done,
                keys,
                closing_ids,
                scale,
                np.float32(sampling.temperature or 1.0),
                np.float32(sampling.top_p),
                np.int32(sampling.top_k),
                end_ids=self.tokenizer.end_ids,
                greedy=sampling.greedy,
                truncate=sampling.truncates,
                **static,
            )
            finished = on_host(state.finished)
            generated, log_probs = on_host(state.generated), on_host(state.log_probs)
            completions = [
                self._completion(generated[row, :length], log_probs[row, :length], finished[row])
                for row, length in enumerate(on_host(state.lengths)[:count])
            ]
            yield completions
            stopped = finished.copy()
            stopped[:count] |= [not completion.truncated for completion in completions]
            if stopped.all() or done >= max_new_tokens:
                return
            if (stopped != finished).any():
                state = state._replace(finished=jax.numpy.asarray(stopped))

    def _completion(
        self,
        sampled: np.ndarray[Any, Any],
        log_probs: np.ndarray[Any, Any],
        finished: np.bool_,
    ) -> Completion:
        ended = sampled.size > 0 and sampled[-1] in self.tokenizer.end_ids
        tokens = tuple(sampled[:-1].tolist() if ended else sampled.tolist())
        text, truncated = self.tokenizer.decode(tokens), not finished
        if self.stop is not None and self.stop in text:
            stop, truncated = self.stop, False
            # What follows the stop depends on when it was noticed: the tokens end where it is
            # complete.
            count = bisect.bisect_left(
                range(len(tokens)), True, key=lambda n: stop in self.tokenizer.decode(tokens[:n])
            )
            text, tokens = text[: text.index(stop) + len(stop)], tokens[:count]
        return Completion(
            text, tokens, truncated, tuple(sampled.tolist()), tuple(log_probs.tolist())
        )


@dataclass(frozen=True)
class _Prompts:
    """Prompts as `prefill` reads them; of its rows the first `count` are real."""

    shared: np.ndarray[Any, Any]
    shared_lengths: np.ndarray[Any, Any]
    own: np.ndarray[Any, Any]
    own_lengths: np.ndarray[Any, Any]
    last: np.ndarray[Any, Any]
    count: int

    @classmethod
    def with_common_prefix(cls, prompts: Sequence[list[int]], batch_size: int) -> "_Prompts":
        """Different prompts: what all begin with is shared, the rest is each row's own."""
        rows = min(batch_size, 1 << (len(prompts) - 1).bit_length())  # a power of two
        length = _common_prefix(prompts)
        shared = _padded([prompts[0][:length]], 1, round_up(length, SLOTS))
        rests = [prompt[length:-1] for prompt in prompts]
        width = round_up(max(map(len, rests)), SLOTS)
        return cls(
            shared,
            np.array([length], np.int32),
            _padded(rests, rows, width),
            _lengths(rests, rows),
            _padded([prompt[-1:] for prompt in prompts], rows, 1)[:, 0],
            len(prompts),
        )

    @classmethod
    def in_groups(
        cls, prompts: Sequence[list[int]], copies: int, groups: int, max_length: int
    ) -> "_Prompts":
        """Every prompt `copies` times, shared by these rows; in all `groups` x `copies` rows."""
        too_long = [len(prompt) for prompt in prompts if len(prompt) > max_length]
        if too_long:
            raise ValueError(f"a prompt of {too_long[0]} tokens is longer than {max_length}")
        read = [prompt[:-1] for prompt in prompts]
        rows = groups * copies
        last = [prompt[-1:] for prompt in prompts for _ in range(copies)]
        return cls(
            _padded(read, groups, max_length - 1),
            _lengths(read, groups),
            np.zeros((rows, 0), np.int32),
            np.zeros(rows, np.int32),
            _padded(last, rows, 1)[:, 0],
            len(last),
        )


def _keys(seed: int | Array, count: int) -> Array:
    """One random key a completion: equal prompts get different samples."""
    key = jax.random.key(seed) if isinstance(seed, int) else seed
    return jax.vmap(lambda row: jax.random.fold_in(key, row))(np.arange(count))


def _padded(rows: Sequence[Sequence[int]], count: int, width: int) -> np.ndarray[Any, Any]:
    """int32 [count, width]: the rows padded behind with 0, and empty rows after them."""
    padded = np.zeros((count, width), np.int32)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row
    return padded


def _lengths(rows: Sequence[Sequence[int]], count: int) -> np.ndarray[Any, Any]:
    return np.array([len(row) for row in rows] + [0] * (count - len(rows)), np.int32)


def _common_prefix(prompts: Sequence[list[int]]) -> int:
    """Tokens that all prompts begin with, leaving each at least one of its own."""
    first, last = min(prompts), max(prompts)  # in sorted order these differ the earliest
    most = min(map(len, prompts)) - 1
    return next((i for i in range(most) if first[i] != last[i]), most)


def round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple

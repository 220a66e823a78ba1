"""Batched generation: one prefill, then a compiled loop over cached tokens.

`prefill` and `decode` are pure and jitted at module level. Shapes are rounded up, so a handful of
programs serves every batch; `Generator` is the host side, which batches prompts, streams text and
applies stop strings.
"""

import bisect
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from reasoning_lab.engine.architecture import Architecture
from reasoning_lab.engine.lora import as_layers
from reasoning_lab.engine.tokenizer import Tokenizer
from reasoning_lab.engine.transformer import (
    Array,
    Base,
    KVCache,
    hidden_states_with_cache,
    init_cache,
    logits,
)

_SLOTS = 64
"""Prefix, prompt and completion lengths are rounded up to multiples of this many tokens."""


class DecodeState(NamedTuple):
    """What the decoding loop carries; every array has B rows.

    A prompt occupies slots of the first S - room, with unused ones behind prefix and prompt;
    generated token j sits in slot S - room + j of every row, at position prompt_length + j.
    """

    cache: KVCache
    slot_positions: Array  # int32 [B, S]
    slot_valid: Array  # bool [B, S]
    generated: Array  # int32 [B, room]; 0 where nothing was generated
    next_token: Array  # int32 [B], chosen but not yet fed to the model
    next_position: Array  # int32 [B]
    finished: Array  # bool [B]
    step: Array  # int32, tokens in `generated`
    key: Array


@functools.partial(jax.jit, static_argnames=("arch", "target_modules", "room", "greedy"))
def prefill(
    params: Any | None,
    base: Base,
    prefix: Array,
    prefix_length: Array | int,
    tokens: Array,
    lengths: Array,
    lora_scale: Array | float,
    temperature: Array | float,
    key: Array,
    *,
    arch: Architecture,
    target_modules: tuple[str, ...],
    room: int,
    greedy: bool,
) -> DecodeState:
    """Read prompts and choose the first token of each.

    Args:
        params: LoRA weights, or None for the base model.
        prefix: int32 [L], how every prompt begins, padded behind; computed once. L may be 0.
        prefix_length: real tokens in it.
        tokens: int32 [B, P], what follows, padded behind.
        lengths: int32 [B], real tokens in each row of `tokens`, at least 1.
    """
    (L,), (B, P) = prefix.shape, tokens.shape
    S = L + P + room
    layers = as_layers(params, target_modules) if params else None
    slots = jnp.arange(S)[None]
    positions = jnp.where(slots < L, slots, prefix_length + slots - L)
    cache = init_cache(arch, 1, S, base["embedding"].dtype)
    read = functools.partial(hidden_states_with_cache, arch, base, layers, lora_scale)
    valid = slots < prefix_length
    if L:
        _, cache = read(prefix[None], positions[:, :L], cache, positions, valid, 0)
    cache = jax.tree.map(lambda x: jnp.broadcast_to(x, (B, *x.shape[1:])), cache)
    positions = jnp.broadcast_to(positions, (B, S))
    valid = valid | ((slots >= L) & (slots < L + lengths[:, None]))
    hidden, cache = read(tokens, positions[:, L : L + P], cache, positions, valid, L)
    last = jnp.take_along_axis(hidden, (lengths - 1)[:, None, None], axis=1)[:, 0]
    key, sample_key = jax.random.split(key)
    return DecodeState(
        cache=cache,
        slot_positions=positions,
        slot_valid=valid,
        generated=jnp.zeros((B, room), jnp.int32),
        next_token=_choose(arch, base, last, temperature, sample_key, greedy),
        next_position=prefix_length + lengths,
        finished=jnp.zeros(B, bool),
        step=jnp.int32(0),
        key=key,
    )


@functools.partial(
    jax.jit,
    static_argnames=("arch", "target_modules", "end_ids", "greedy"),
    donate_argnames=("state",),
)
def decode(
    params: Any | None,
    base: Base,
    state: DecodeState,
    until: Array | int,
    lora_scale: Array | float,
    temperature: Array | float,
    *,
    arch: Architecture,
    target_modules: tuple[str, ...],
    end_ids: tuple[int, ...],
    greedy: bool,
) -> DecodeState:
    """Generate until every row has finished or `until` tokens (at most the state's room) exist."""
    layers = as_layers(params, target_modules) if params else None
    room = state.generated.shape[1]
    prompt_slots = state.slot_valid.shape[1] - room
    limit = jnp.minimum(until, room)

    def unfinished(state: DecodeState) -> Array:
        return (state.step < limit) & ~state.finished.all()

    def one_token(state: DecodeState) -> DecodeState:
        token = jnp.where(state.finished, 0, state.next_token)
        finished = state.finished | jnp.isin(token, jnp.array(end_ids))
        slot = prompt_slots + state.step
        slot_positions = state.slot_positions.at[:, slot].set(state.next_position)
        slot_valid = state.slot_valid.at[:, slot].set(True)
        hidden, cache = hidden_states_with_cache(
            arch,
            base,
            layers,
            lora_scale,
            token[:, None],
            state.next_position[:, None],
            state.cache,
            slot_positions,
            slot_valid,
            slot,
        )
        key, sample_key = jax.random.split(state.key)
        return DecodeState(
            cache=cache,
            slot_positions=slot_positions,
            slot_valid=slot_valid,
            generated=state.generated.at[:, state.step].set(token),
            next_token=_choose(arch, base, hidden[:, 0], temperature, sample_key, greedy),
            next_position=state.next_position + 1,
            finished=finished,
            step=state.step + 1,
            key=key,
        )

    return jax.lax.while_loop(unfinished, one_token, state)


def _choose(
    arch: Architecture,
    base: Base,
    hidden: Array,
    temperature: Array | float,
    key: Array,
    greedy: bool,
) -> Array:
    """Next token ids int32 [B] from hidden states [B, D]."""
    scores = logits(arch, base, hidden)
    if greedy:
        return jnp.argmax(scores, axis=0).astype(jnp.int32)
    return jax.random.categorical(key, scores / temperature, axis=0).astype(jnp.int32)


@dataclass(frozen=True)
class Completion:
    """One finished answer.

    `truncated` says that the model was still writing when the token limit came.
    """

    text: str
    tokens: tuple[int, ...]
    truncated: bool


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

    def complete(
        self,
        prompts: Sequence[list[int]],
        max_new_tokens: int,
        *,
        temperature: float = 0.0,
        seed: int = 0,
        on_progress: Callable[[int], None] = lambda done: None,
    ) -> list[Completion]:
        """Complete token-id prompts, in order. temperature 0 is greedy.

        Args:
            on_progress: called after each batch with the number of prompts completed so far.
        """
        completions: dict[int, Completion] = {}
        for batch, indices in enumerate(self._batches(prompts)):
            states = self._run(
                [prompts[i] for i in indices],
                max_new_tokens,
                self.check_every,
                temperature,
                # Not the same for all batches, or equal prompts would get equal samples.
                jax.random.fold_in(jax.random.key(seed), batch),
            )
            *_, last = states
            completions.update(zip(indices, last, strict=True))
            on_progress(len(completions))
        return [completions[i] for i in range(len(prompts))]

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
        key = jax.random.fold_in(jax.random.key(seed), 0)
        for completion, *_ in self._run([prompt], max_new_tokens, 2, temperature, key):
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
        prompts: Sequence[list[int]],
        max_new_tokens: int,
        check_every: int,
        temperature: float,
        key: Array,
    ) -> Iterator[list[Completion]]:
        """All completions so far, after every `check_every` tokens."""
        greedy = temperature == 0
        rows = min(self.batch_size, 1 << (len(prompts) - 1).bit_length())  # a power of two
        shared = _common_prefix(prompts)
        prefix = np.zeros(_round_up(shared, _SLOTS), np.int32)
        prefix[:shared] = prompts[0][:shared]
        width = _round_up(max(map(len, prompts)) - shared, _SLOTS)
        tokens = np.zeros((rows, width), np.int32)
        lengths = np.ones(rows, np.int32)
        for row, prompt in enumerate(prompts):
            lengths[row] = len(prompt) - shared
            tokens[row, : lengths[row]] = prompt[shared:]
        scale, temperature_ = np.float32(self.lora_scale), np.float32(temperature or 1.0)
        static = {"arch": self.arch, "target_modules": self.target_modules, "greedy": greedy}
        state = prefill(
            self.params,
            self.base,
            prefix,
            shared,
            tokens,
            lengths,
            scale,
            temperature_,
            key,
            room=_round_up(max_new_tokens, _SLOTS),
            **static,
        )
        state = state._replace(finished=jnp.arange(rows) >= len(prompts))
        done = 0
        while True:
            done = min(done + check_every, max_new_tokens)
            state = decode(
                self.params,
                self.base,
                state,
                done,
                scale,
                temperature_,
                end_ids=self.tokenizer.end_ids,
                **static,
            )
            finished = np.array(state.finished)
            generated = np.asarray(state.generated)[: len(prompts), : int(state.step)]
            completions = [self._completion(row) for row in generated]
            yield completions
            finished[: len(prompts)] |= [not c.truncated for c in completions]
            if finished.all() or done >= max_new_tokens:
                return
            state = state._replace(finished=jnp.asarray(finished))

    def _completion(self, generated: np.ndarray[Any, Any]) -> Completion:
        ends = np.flatnonzero(np.isin(generated, self.tokenizer.end_ids))
        tokens = tuple(generated[: ends[0]].tolist() if ends.size else generated.tolist())
        text = self.tokenizer.decode(tokens)
        if self.stop is None or self.stop not in text:
            return Completion(text, tokens, truncated=not ends.size)
        stop = self.stop
        # What follows the stop depends on when it was noticed: the tokens end where it is complete.
        count = bisect.bisect_left(
            range(len(tokens)), True, key=lambda n: stop in self.tokenizer.decode(tokens[:n])
        )
        return Completion(text[: text.index(stop) + len(stop)], tokens[:count], truncated=False)


def _common_prefix(prompts: Sequence[list[int]]) -> int:
    """Tokens that all prompts begin with, leaving each at least one of its own."""
    first, last = min(prompts), max(prompts)  # in sorted order these differ the earliest
    most = min(map(len, prompts)) - 1
    return next((i for i in range(most) if first[i] != last[i]), most)


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple

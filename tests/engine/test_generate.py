"""Generation with a cache against recomputing everything for every token."""

import functools
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_models import ALL_LINEAR, SMALL, random_lora, random_weights

from reasoning_lab.engine.generate import Completion, Generator
from reasoning_lab.engine.lora import as_layers
from reasoning_lab.engine.tokenizer import Tokenizer, byte_tokenizer
from reasoning_lab.engine.transformer import hidden_states, logits

TOKENIZER = byte_tokenizer()
ARCH = replace(SMALL, vocab_size=TOKENIZER.vocab_size)
NEW = 24  # tokens asked for
LENGTH = 96  # prompts and completions fit, and are longer than the sliding window of 16
_RNG = np.random.default_rng(0)


def random_prompt(length: int) -> list[int]:
    return _RNG.integers(7, ARCH.vocab_size, length).tolist()


RAGGED = [random_prompt(n) for n in (3, 61, 20, 33)]
_PREFIX = random_prompt(40)
ALIKE = [[*_PREFIX, *random_prompt(n)] for n in (1, 14, 7, 22)]


class Shortened(Tokenizer):
    """A tokenizer whose end markers are tokens that the random model really writes."""

    def __init__(self, end_ids: tuple[int, int]) -> None:
        vars(self).update(vars(TOKENIZER))
        self._end_ids = end_ids

    @property
    def end_ids(self) -> tuple[int, int]:
        return self._end_ids


@functools.cache
def weights() -> tuple[Any, Any]:
    base = random_weights(ARCH)
    for layer in base["layers"]:  # outweigh the residual, so that the model does not repeat itself
        layer["post_attention_norm"] += 3
        layer["post_ffw_norm"] += 3
    return base, random_lora(ARCH, ALL_LINEAR)


@jax.jit
def _next_tokens(base: Any, lora: Any, tokens: jax.Array, lengths: jax.Array) -> jax.Array:
    index = jnp.broadcast_to(jnp.arange(LENGTH), tokens.shape)
    segment_ids = (index < lengths[:, None]).astype(jnp.int32)
    layers = as_layers(lora, ALL_LINEAR.target_modules)
    hidden = hidden_states(ARCH, base, layers, 2.0, tokens, index, segment_ids)
    last = jnp.take_along_axis(hidden, (lengths - 1)[:, None, None], 1)[:, 0]
    return logits(ARCH, base, last).argmax(0)


@functools.cache
def greedy_continuations() -> dict[tuple[int, ...], list[int]]:
    """The NEW likeliest tokens after each prompt, with no cache, no prefix and no end."""
    prompts = [*RAGGED, *ALIKE]
    tokens = np.zeros((len(prompts), LENGTH), np.int32)
    lengths = np.array([len(prompt) for prompt in prompts])
    for row, prompt in enumerate(prompts):
        tokens[row, : len(prompt)] = prompt
    rows = np.arange(len(prompts))
    for step in range(NEW):
        tokens[rows, lengths + step] = _next_tokens(*weights(), tokens, lengths + step)
    return {
        tuple(prompt): tokens[row, lengths[row] : lengths[row] + NEW].tolist()
        for row, prompt in enumerate(prompts)
    }


@pytest.fixture(scope="module")
def end_ids() -> tuple[int, int]:
    """One prompt's 7th and another's 13th token, so that rows end at different times."""
    continuations = greedy_continuations()
    return continuations[tuple(RAGGED[0])][6], continuations[tuple(ALIKE[1])][12]


@pytest.fixture(scope="module")
def greedy(end_ids: tuple[int, int]) -> Generator:
    base, lora = weights()
    return Generator(
        arch=ARCH,
        base=base,
        tokenizer=Shortened(end_ids),
        params=lora,
        target_modules=ALL_LINEAR.target_modules,
        lora_scale=2.0,
        batch_size=4,
        check_every=8,
    )


@pytest.fixture(scope="module")
def sampling() -> Generator:
    """The base model; sampled, it writes random bytes, whole characters among them."""
    base, _ = weights()
    return Generator(arch=ARCH, base=base, tokenizer=TOKENIZER, batch_size=2, check_every=8)


def expected(prompt: Sequence[int], end_ids: tuple[int, int]) -> Completion:
    tokens = greedy_continuations()[tuple(prompt)]
    end = next((i for i, token in enumerate(tokens) if token in end_ids), None)
    return Completion(TOKENIZER.decode(tokens[:end]), tuple(tokens[:end]), truncated=end is None)


@pytest.mark.parametrize("prompts", [RAGGED, ALIKE], ids=["ragged", "common-prefix"])
def test_greedy_is_what_recomputing_every_token_gives(
    greedy: Generator, prompts: list[list[int]], end_ids: tuple[int, int]
) -> None:
    completions = greedy.complete(prompts, NEW)
    assert completions == [expected(prompt, end_ids) for prompt in prompts]


def test_some_completions_end_and_others_are_truncated(end_ids: tuple[int, int]) -> None:
    completions = [expected(prompt, end_ids) for prompt in [*RAGGED, *ALIKE]]
    assert len({len(completion.tokens) for completion in completions}) >= 3
    assert {completion.truncated for completion in completions} == {True, False}
    assert len(set(completions)) == len(completions)


def test_a_row_does_not_depend_on_its_companions(greedy: Generator) -> None:
    together = greedy.complete(RAGGED, NEW)
    others = [RAGGED[1], random_prompt(50), RAGGED[2]]
    first, _, third = greedy.complete(others, NEW)
    assert [first, third] == together[1:3]


def test_more_prompts_than_rows_come_back_in_order(greedy: Generator) -> None:
    done: list[int] = []
    completions = greedy.complete([*ALIKE, *RAGGED], NEW, on_progress=done.append)
    assert [c.text for c in completions] == [
        c.text for c in [*greedy.complete(ALIKE, NEW), *greedy.complete(RAGGED, NEW)]
    ]
    assert done == [4, 8]


def test_fewer_new_tokens_are_a_prefix(greedy: Generator) -> None:
    long, short = greedy.complete(RAGGED, NEW), greedy.complete(RAGGED, 7)
    assert [c.tokens for c in short] == [c.tokens[:7] for c in long]
    assert [c.truncated for c in short] == [len(c.tokens) == 7 for c in short]


def test_a_stop_string_ends_a_completion_and_stays_in_it(
    greedy: Generator, end_ids: tuple[int, int]
) -> None:
    free = [expected(prompt, end_ids) for prompt in RAGGED]
    row = next(i for i, completion in enumerate(free) if completion.truncated)
    [stop, *_] = re.findall(r"[\x00-\x7f]{2}", free[row].text)
    stopped = replace(greedy, stop=stop).complete(RAGGED, NEW)
    for without, with_stop in zip(free, stopped, strict=True):
        if stop in without.text:
            assert with_stop.text == without.text[: without.text.index(stop) + len(stop)]
            assert not with_stop.truncated
            # Up to the stop, whatever the other rows still had to write.
            assert TOKENIZER.decode(with_stop.tokens).startswith(with_stop.text)
            assert without.tokens[: len(with_stop.tokens)] == with_stop.tokens
        else:
            assert with_stop == without
    assert not stopped[row].truncated


def test_samples_are_a_function_of_the_seed(sampling: Generator) -> None:
    prompts = [RAGGED[2]] * 4  # two batches of two rows
    samples = sampling.complete(prompts, NEW, temperature=1.0, seed=1)
    assert len({sample.tokens for sample in samples}) == 4
    assert sampling.complete(prompts, NEW, temperature=1.0, seed=1) == samples
    again = sampling.complete(prompts, NEW, temperature=1.0, seed=2)
    assert not {sample.tokens for sample in samples} & {sample.tokens for sample in again}


def test_the_colder_the_more_alike(sampling: Generator) -> None:
    """Near temperature 0 sampling is greedy, at a high one it is uniform."""
    prompts = [RAGGED[2]] * 2
    cold = sampling.complete(prompts, NEW, temperature=1e-4, seed=1)
    assert cold[0] == cold[1]
    tokens = [t for c in sampling.complete(prompts, NEW, temperature=1e4) for t in c.tokens]
    assert len(set(tokens)) > 0.8 * len(tokens)


@pytest.mark.parametrize("seed", range(3))
def test_streamed_pieces_are_the_completion(sampling: Generator, seed: int) -> None:
    prompt = RAGGED[2]
    pieces = list(sampling.stream(prompt, NEW, temperature=1.0, seed=seed))
    [whole] = sampling.complete([prompt], NEW, temperature=1.0, seed=seed)
    assert "".join(pieces) == whole.text
    assert len(pieces) > 3

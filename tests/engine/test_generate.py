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
from flax import nnx
from tiny_models import (
    ALL_LINEAR,
    SMALL,
    new_tunix_model,
    random_lora,
    random_weights,
    set_base,
    set_lora,
    with_qwix_lora,
)
from tunix.generate.sampler import CacheConfig, Sampler

from reasoning_lab.engine import decoding
from reasoning_lab.engine.decoding import decode, prefill
from reasoning_lab.engine.generate import Completion, Generator
from reasoning_lab.engine.grpo_batch import RowShape, pack_groups
from reasoning_lab.engine.grpo_step import log_probs_of_rows
from reasoning_lab.engine.lora import as_layers
from reasoning_lab.engine.sampling import Sampling
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


@pytest.mark.parametrize("at_once", [12, 100], ids=["many pieces", "two pieces"])
def test_prompts_read_piece_by_piece_are_prompts_read_whole(
    at_once: int, greedy: Generator, grouped: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [*greedy.complete([*RAGGED, *ALIKE], NEW), *in_groups(grouped, RAGGED)]
    monkeypatch.setattr(decoding, "TOKENS_AT_ONCE", at_once)
    decoding.prefill.clear_cache()
    pieces = [*greedy.complete([*RAGGED, *ALIKE], NEW), *in_groups(grouped, RAGGED)]
    decoding.prefill.clear_cache()
    assert [c.sampled for c in pieces] == [c.sampled for c in whole]


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


# Groups of completions of one prompt.

MODULES = ALL_LINEAR.target_modules
LONGEST = 64  # tokens of a prompt
GREEDY, HOT = Sampling(), Sampling(temperature=0.9)


def in_groups(
    generator: Generator,
    prompts: list[list[int]],
    copies: int = 3,
    how: Sampling = HOT,
    *,
    seed: Any = 1,
    closing: str | None = None,
) -> list[Completion]:
    return generator.complete_groups(
        prompts,
        copies,
        max_prompt_length=LONGEST,
        max_new_tokens=NEW,
        sampling=how,
        seed=seed,
        closing=closing,
    )


def exact(completions: Sequence[Completion]) -> list[tuple[Any, ...]]:
    """With `sampled`, which comparing completions leaves out."""
    return [(c.text, c.tokens, c.truncated, c.sampled) for c in completions]


@pytest.fixture(scope="module")
def grouped(greedy: Generator) -> Generator:
    """Two groups of three are run at a time; the third is alone."""
    return replace(greedy, batch_size=6)


def test_greedy_groups_are_copies_of_the_completion_of_their_prompt(
    grouped: Generator, end_ids: tuple[int, int]
) -> None:
    prompts = [*RAGGED, ALIKE[1]]
    completions = in_groups(grouped, prompts, how=GREEDY)
    assert completions == [expected(prompt, end_ids) for prompt in prompts for _ in range(3)]
    assert completions == [c for c in grouped.complete(prompts, NEW) for _ in range(3)]


def test_copies_of_a_prompt_differ_as_their_log_probs_do(grouped: Generator) -> None:
    samples = in_groups(grouped, RAGGED[:1] * 4, copies=3)  # two batches
    assert len({sample.sampled for sample in samples}) == 12
    assert len({sample.log_probs for sample in samples}) == 12


def test_sampled_groups_are_a_function_of_the_seed(grouped: Generator) -> None:
    samples = exact(in_groups(grouped, RAGGED))
    assert exact(in_groups(grouped, RAGGED, seed=jax.random.key(1))) == samples
    assert not set(samples) & set(exact(in_groups(grouped, RAGGED, seed=2)))


def test_samples_do_not_depend_on_how_many_are_drawn_at_once(grouped: Generator) -> None:
    samples = in_groups(grouped, RAGGED)
    others = in_groups(replace(grouped, batch_size=1), RAGGED)  # a group at a time
    assert exact(others) == exact(samples)
    for one, other in zip(samples, others, strict=True):
        np.testing.assert_allclose(one.log_probs, other.log_probs, atol=1e-4)


def test_samples_do_not_depend_on_the_other_prompts(grouped: Generator) -> None:
    samples = in_groups(grouped, RAGGED)
    others = in_groups(grouped, [RAGGED[0], random_prompt(50), RAGGED[2], random_prompt(2)])
    for group in (0, 2):
        rows = slice(3 * group, 3 * group + 3)
        assert exact(others[rows]) == exact(samples[rows])


def test_sampled_holds_the_end_token_and_tokens_do_not(
    grouped: Generator, end_ids: tuple[int, int]
) -> None:
    completions = in_groups(grouped, [*RAGGED, ALIKE[1]], how=GREEDY)
    assert {c.truncated for c in completions} == {True, False}
    for completion in completions:
        assert len(completion.log_probs) == len(completion.sampled)
        assert not set(completion.tokens) & set(end_ids)
        if completion.truncated:
            assert completion.sampled == completion.tokens
            assert len(completion.sampled) == NEW
        else:
            assert completion.sampled[:-1] == completion.tokens
            assert completion.sampled[-1] in end_ids


@functools.cache
def _free() -> tuple[int, list[int], int]:
    """A row of RAGGED, its greedy continuation, and where in it two characters stand for the
    first time that are followed by a token which is new too."""
    for row, prompt in enumerate(RAGGED):
        tokens = greedy_continuations()[tuple(prompt)]
        for i in range(NEW - 3):
            text = TOKENIZER.decode(tokens[i : i + 2])
            is_new = tokens[i + 2] not in tokens[: i + 2]
            if is_new and TOKENIZER.encode(text) == tokens[i : i + 2] != tokens[i - 1 : i + 1]:
                return row, tokens, i
    raise AssertionError("no such row")


@pytest.fixture(scope="module")
def endless(grouped: Generator) -> Generator:
    """Nothing that the model writes ends a completion."""
    return replace(grouped, tokenizer=TOKENIZER)


def test_a_completion_ends_one_token_after_its_closing(endless: Generator) -> None:
    row, tokens, place = _free()
    ids = tokens[place : place + 2]
    closing = TOKENIZER.decode(ids)
    ends = {}
    for prompt in RAGGED:
        written = greedy_continuations()[tuple(prompt)]
        assert not set(written) & set(TOKENIZER.end_ids)
        places = [i + len(ids) for i in range(NEW) if written[i : i + len(ids)] == ids]
        ends[tuple(prompt)] = places[0] + 1 if places and places[0] < NEW else NEW + 1
    assert ends[tuple(RAGGED[row])] < NEW
    for i, completion in enumerate(in_groups(endless, RAGGED, how=GREEDY, closing=closing)):
        prompt = tuple(RAGGED[i // 3])
        written = greedy_continuations()[prompt]
        assert list(completion.sampled) == written[: ends[prompt]]
        assert completion.truncated == (ends[prompt] > NEW)
        assert completion.tokens == completion.sampled
        assert len(completion.log_probs) == len(completion.sampled)


def test_the_token_after_a_closing_may_be_the_end(endless: Generator) -> None:
    """It is then not part of the text."""
    row, tokens, start = _free()
    place = start + 2
    closing = TOKENIZER.decode(tokens[start:place])
    ending = replace(endless, tokenizer=Shortened((tokens[place], tokens[place])))
    completion, *_ = in_groups(ending, [RAGGED[row]], how=GREEDY, closing=closing)
    assert list(completion.sampled) == tokens[: place + 1]
    assert list(completion.tokens) == tokens[:place]
    assert completion.text.endswith(closing)


@pytest.mark.parametrize(
    "how", [HOT, Sampling(temperature=1.4, top_p=0.8), Sampling(temperature=0.7, top_k=5), GREEDY]
)
def test_log_probs_of_sampling_are_those_of_training(grouped: Generator, how: Sampling) -> None:
    """All tokens', at the temperature, computed with packed rows and without a cache."""
    completions = in_groups(grouped, RAGGED, how=how)
    groups = [
        (prompt, [c.sampled for c in completions[3 * i : 3 * i + 3]])
        for i, prompt in enumerate(RAGGED)
    ]
    rows = pack_groups(groups, RowShape(micro_batches=1, rows=4, length=LONGEST + 3 * NEW))
    base, lora = weights()
    scores = log_probs_of_rows(
        lora,
        base,
        rows.arrays,
        rows.used,
        np.float32(2.0),
        np.float32(how.temperature or 1.0),
        arch=ARCH,
        target_modules=MODULES,
    )
    flat = np.asarray(scores).reshape(4, -1)
    for completion, (row, start, end) in zip(completions, rows.places, strict=True):
        np.testing.assert_allclose(completion.log_probs, flat[row, start:end], atol=1e-4)


def test_groups_that_differ_in_prompts_and_seeds_run_the_same_programs(
    grouped: Generator,
) -> None:
    in_groups(grouped, RAGGED)
    before = prefill._cache_size(), decode._cache_size()
    in_groups(grouped, [random_prompt(n) for n in (1, LONGEST, 5)], seed=2)
    in_groups(grouped, RAGGED[:2], seed=jax.random.key(3))
    in_groups(grouped, RAGGED, how=Sampling(temperature=1.2))
    assert (prefill._cache_size(), decode._cache_size()) == before


def test_a_prompt_that_is_too_long_is_refused(grouped: Generator) -> None:
    with pytest.raises(ValueError, match="a prompt of 65 tokens is longer than 64"):
        in_groups(grouped, [random_prompt(65)])


class Numbers:
    """A tokenizer for Tunix's sampler whose text is the token ids."""

    def encode(self, text: str, **_: Any) -> list[int]:
        return [int(number) for number in text.split()]

    def decode(self, ids: Any, **_: Any) -> str:
        return " ".join(str(int(i)) for i in ids)

    def bos_id(self) -> int:
        return 0  # none

    def eos_id(self) -> int:
        return 1

    def pad_id(self) -> int:
        return 0


def test_greedy_tokens_are_those_of_tunix_sampler(end_ids: tuple[int, int]) -> None:
    """With its Gemma3, its cache, its padding in front and qwix's LoRA."""
    arch = replace(ARCH, attention_pattern=("local", "local"))  # as Tunix's first two layers
    base, lora = weights()
    model = nnx.eval_shape(lambda: with_qwix_lora(new_tunix_model(arch), ALL_LINEAR))
    set_base(model, arch, base)
    set_lora(model, lora)
    config = CacheConfig(LENGTH, arch.num_layers, arch.num_kv_heads, arch.head_dim)
    output = Sampler(model, Numbers(), config)(
        [Numbers().decode(prompt) for prompt in RAGGED],
        max_generation_steps=NEW,
        max_prompt_length=LONGEST,
        eos_tokens=list(end_ids),
        temperature=0.0,
        top_p=None,
    )
    theirs = [tuple(int(token) for token in tokens) for tokens in output.tokens]
    ours = Generator(
        arch=arch,
        base=base,
        tokenizer=Shortened(end_ids),
        params=lora,
        target_modules=MODULES,
        lora_scale=2.0,
        batch_size=6,
    )
    completions = in_groups(ours, RAGGED, how=GREEDY, copies=1)
    assert [c.tokens for c in completions] == theirs
    assert len(set(theirs)) == len(RAGGED)

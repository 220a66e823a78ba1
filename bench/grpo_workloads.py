"""The work of a GRPO step: the same prompts for every library, one a step.

Every library samples its own completions. So that their number of tokens is the same, nothing
ends one early, and the end token given to the libraries is one that the model cannot write.
"""

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from bench import worker
from reasoning_lab.data.sources.gsm_symbolic import GsmSymbolic
from reasoning_lab.engine.architecture import ARCHITECTURES
from reasoning_lab.engine.tokenizer import Tokenizer

BETA = 0.04  # weight of the KL term, without which no reference is computed
TEMPERATURE = 1.0
NEVER_WRITTEN = ARCHITECTURES[worker.MODEL.architecture].vocab_size  # one past the last token


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A prompt a step, from the first; `timed_steps` follow the warm-up steps.

    The fixed completions are not trained on. What a library says about their log-probabilities,
    given the first prompt and the initial weights, must be what the others say.
    """

    name: str
    timed_steps: int
    new_tokens: int  # of every completion
    prompts: tuple[tuple[int, ...], ...]  # [steps][prompt tokens], all of one length
    fixed_completions: tuple[tuple[int, ...], ...]  # [generations][new_tokens]

    @property
    def generations(self) -> int:
        """Completions of a prompt, a group; one optimizer update is made with them."""
        return len(self.fixed_completions)

    @property
    def prompt_length(self) -> int:
        return len(self.prompts[0])

    @property
    def completion_tokens(self) -> int:
        """Generated in a step."""
        return self.generations * self.new_tokens

    def check_rollout(
        self, prompts: Iterable[Sequence[int]], completions: Iterable[Sequence[int]]
    ) -> None:
        """Raise if what a library generated in one step is not this work.

        Args:
            prompts: token ids, [generations][prompt tokens], all the same.
            completions: token ids, [generations][tokens].
        """
        if any(tuple(map(int, prompt)) not in self.prompts for prompt in prompts):
            raise RuntimeError("a prompt is not one of the workload's")
        lengths = [len(completion) for completion in completions]
        if lengths != [self.new_tokens] * self.generations:
            raise RuntimeError(f"completions of {lengths} tokens, not all of {self.new_tokens}")

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(dataclasses.asdict(self)), "utf-8")

    @classmethod
    def load(cls, path: Path) -> "Workload":
        fields = json.loads(path.read_text("utf-8"))
        for name in ("prompts", "fixed_completions"):
            fields[name] = tuple(map(tuple, fields[name]))
        return cls(**fields)


def short(tokenizer: Tokenizer) -> Workload:
    timed_steps, prompt_length, generations, new_tokens = 2, 64, 8, 64
    tokens = _prose(tokenizer)
    return Workload(
        name="short",
        timed_steps=timed_steps,
        new_tokens=new_tokens,
        prompts=tuple(
            (tokenizer.bos_id, *islice(tokens, prompt_length - 1))
            for _ in range(worker.WARMUP_STEPS + timed_steps)
        ),
        fixed_completions=tuple(tuple(islice(tokens, new_tokens)) for _ in range(generations)),
    )


WORKLOADS = {"short": short}


def reward(completion: Sequence[int]) -> float:
    """Share of even token ids: costs nothing, and differs inside a group."""
    return sum(token % 2 == 0 for token in completion) / len(completion)


def _prose(tokenizer: Tokenizer) -> Iterator[int]:
    """Token ids of word problems, one after another."""
    for example in GsmSymbolic(max_chars=700).examples(name="prose", seed=0):
        yield from tokenizer.encode(example.question + "\n\n")


# The peers take prompts and hand out completions as text. To give them our token ids without
# translating the tokenizer into theirs, the text is the ids, written as words.

CONTROL_WORDS = {"<pad>": 0, "<eos>": NEVER_WRITTEN, "<bos>": 2, "<unk>": 3}
_CONTROL_IDS = {index: word for word, index in CONTROL_WORDS.items()}


def word(index: int) -> str:
    return _CONTROL_IDS.get(index, str(index))


def words(ids: Iterable[int]) -> str:
    return " ".join(map(word, ids))


def ids_of(text: str) -> list[int]:
    return [CONTROL_WORDS[part] if part in CONTROL_WORDS else int(part) for part in text.split()]

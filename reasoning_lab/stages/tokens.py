"""Problems as the model reads them: how long they are, and the tokens that it is taught."""

from array import array
from collections.abc import Iterable

from reasoning_lab.data.example import Example
from reasoning_lab.data.filters import Length
from reasoning_lab.data.packing import TokenizedExample
from reasoning_lab.engine.tokenizer import Tokenizer
from reasoning_lab.formats import render_completion, render_prompt
from reasoning_lab.stages.specs import GRPOSpec, SFTSpec, StageSpec


class Tokens:
    """Tokens of the problems of one stage; those of an example to be taught are made once."""

    def __init__(self, tokenizer: Tokenizer, stage: StageSpec) -> None:
        self.tokenizer = tokenizer
        self._stage = stage
        self._made: dict[Example, TokenizedExample] = {}

    @property
    def length(self) -> Length | None:
        """How long an example may be for this stage."""
        match self._stage:
            case SFTSpec(max_length=most):
                return Length(
                    lambda example: len(self.taught(example, keep=most).tokens),
                    most,
                    "stage.max_length",
                )
            case GRPOSpec(max_prompt_length=most):
                return Length(
                    lambda example: len(self.prompt(example)), most, "stage.max_prompt_length"
                )
        return None

    def prompt(self, example: Example) -> list[int]:
        return self.tokenizer.prompt(render_prompt(example.question))

    def taught(self, example: Example, *, keep: int | None = None) -> TokenizedExample:
        """The user's turn, the completion and its end marker; kept if not longer than `keep`.

        Raises ValueError for an example without reasoning.
        """
        if example in self._made:
            return self._made[example]
        if not example.reasoning:
            raise ValueError(f"no reasoning to teach in {example.id}")
        prompt = self.prompt(example)
        text = render_completion(example.reasoning, example.answer)
        # An array, as a list of ints takes nine times the memory.
        tokens = array("i", [*prompt, *self.tokenizer.completion(text)])
        made = TokenizedExample(tokens, len(prompt), example.id)
        if keep is not None and len(tokens) <= keep:
            self._made[example] = made
        return made

    def all_taught(self, examples: Iterable[Example]) -> list[TokenizedExample]:
        """Tokens of those that have reasoning and are not too long."""
        length = self.length
        return [
            self.taught(example)
            for example in examples
            if example.reasoning and (length is None or length.tokens(example) <= length.most)
        ]

"""Gemma's SentencePiece tokenizer and turn template.

Tokens that end a turn are decided here once: <eos> and <end_of_turn>. Gemma's instruction-tuned
models stop at the latter, which Tunix's sampler does not know (github.com/google/tunix issues
842 and 592).
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import sentencepiece

from reasoning_lab.config import ConfigError

START_OF_TURN = "<start_of_turn>"
END_OF_TURN = "<end_of_turn>"
_SPECIAL = ("<pad>", "<eos>", "<bos>", START_OF_TURN, END_OF_TURN)
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6


class Tokenizer:
    """Text <-> token ids, with Gemma's turns.

    The control tokens come only from the template: markers inside the user's own text are removed,
    so that no row of data and no question can open or close a turn.
    """

    def __init__(self, model: bytes) -> None:
        """Args: model: a serialised SentencePiece model.

        Raises:
            ConfigError: not a SentencePiece model, or one without Gemma's turn markers.
        """
        if not model:  # SentencePiece takes it for a model that comes later
            raise ConfigError("tokenizer.model is not a SentencePiece model: it is empty.")
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except RuntimeError as error:
            raise ConfigError(f"tokenizer.model is not a SentencePiece model ({error}).") from error
        self.pad_id, self.eos_id, self.bos_id, self._start_of_turn, self.end_of_turn_id = (
            self._processor.piece_to_id(piece) for piece in _SPECIAL
        )
        unknown = self._processor.unk_id()
        missing = [p for p in _SPECIAL if self._processor.piece_to_id(p) in (unknown, -1)]
        if missing:
            raise ConfigError(f"tokenizer.model is not Gemma's: it lacks {', '.join(missing)}.")
        self.vocab_size: int = self._processor.vocab_size()

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        try:
            return cls(path.read_bytes())
        except OSError as error:
            raise ConfigError(f"{path}: cannot read the tokenizer ({error}).") from error

    @property
    def end_ids(self) -> tuple[int, int]:
        """The tokens at which a completion is finished."""
        return (self.eos_id, self.end_of_turn_id)

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text: no BOS, no EOS, turn markers removed."""
        ids: list[int] = self._processor.encode(_without_markers(text))
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Text of the ids; padding, BOS, EOS, turn markers and ids without a piece give nothing.

        The last exist because some embeddings have more rows than the vocabulary has pieces.
        """
        hidden = {self.pad_id, self.bos_id, self._start_of_turn, *self.end_ids}
        shown = [int(i) for i in ids if i < self.vocab_size and i not in hidden]
        text: str = self._processor.decode(shown)
        return text

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """One printable string a token, to show what the model really sees."""
        return [self._processor.id_to_piece(int(i)).replace("\u2581", " ") for i in ids]

    def prompt(self, text: str) -> list[int]:
        """The user's turn, and the start of the model's:

        <bos><start_of_turn>user\\n{text}<end_of_turn>\\n<start_of_turn>model\\n
        """
        newline = self._newline
        return [
            *(self.bos_id, self._start_of_turn),
            *self.encode(f"user\n{_without_markers(text).strip()}"),
            *(self.end_of_turn_id, *newline, self._start_of_turn),
            *self.encode("model\n"),
        ]

    def plain_prompt(self, text: str) -> list[int]:
        """<bos>{text}: text to be continued, without turns."""
        return [self.bos_id, *self.encode(text)]

    def completion(self, text: str) -> list[int]:
        """{text}<end_of_turn>: what the model is trained to write after `prompt`."""
        return [*self.encode(text.strip()), self.end_of_turn_id]

    @cached_property
    def _newline(self) -> list[int]:
        return self.encode("\n")


def _without_markers(text: str) -> str:
    while any(marker in text for marker in _SPECIAL):  # removing one can put together another
        for marker in _SPECIAL:
            text = text.replace(marker, "")
    return text


def sentencepiece_model(pieces: list[str], scores: list[float], types: list[int]) -> bytes:
    """A serialised SentencePiece BPE model from a GGUF's token table.

    <unk> must be UNKNOWN although GGUF calls it a control token, and the other control tokens
    USER_DEFINED, so that <start_of_turn> has an id that text can reach.
    """
    from sentencepiece import sentencepiece_model_pb2 as pb

    model = pb.ModelProto()
    model.trainer_spec.model_type = pb.TrainerSpec.BPE
    model.trainer_spec.byte_fallback = True
    for name, index in (("pad", 0), ("eos", 1), ("bos", 2), ("unk", 3)):
        setattr(model.trainer_spec, f"{name}_id", index)
        setattr(model.trainer_spec, f"{name}_piece", pieces[index])
    model.trainer_spec.vocab_size = len(pieces)
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = False
    model.normalizer_spec.remove_extra_whitespaces = False
    model.normalizer_spec.escape_whitespaces = True
    for index, (piece, score, kind) in enumerate(zip(pieces, scores, types, strict=True)):
        if index == 3:
            kind = _UNKNOWN
        elif kind == _CONTROL and index > 3:
            kind = _USER_DEFINED
        if kind == _USER_DEFINED:
            piece = piece.replace(" ", "\u2581")
        model.pieces.add(piece=piece, score=score, type=kind)
    serialised: bytes = model.SerializeToString()
    return serialised


def byte_tokenizer() -> Tokenizer:
    """The tokenizer of gemma3_tiny: Gemma's control tokens, a space, then one token a byte."""
    control = ["<pad>", "<eos>", "<bos>", "<unk>", START_OF_TURN, END_OF_TURN]
    pieces = [*control, "\u2581", *(f"<0x{value:02X}>" for value in range(256))]
    kinds = [*[_CONTROL] * len(control), _NORMAL, *[_BYTE] * 256]
    return Tokenizer(sentencepiece_model(pieces, [0.0] * len(kinds), kinds))

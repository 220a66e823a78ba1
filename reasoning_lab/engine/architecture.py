"""The static shape of each Gemma: what compiled functions know before they see an array."""

from dataclasses import dataclass
from typing import Literal

AttentionKind = Literal["global", "local"]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Sizes and switches of one Gemma decoder; hashable, for jit takes it as a static argument.

    Axes used throughout the engine: B batch, T query tokens, S key tokens, D embed_dim, N heads,
    K key/value heads, H head_dim, F hidden_dim, V vocab_size, R LoRA rank.
    """

    num_layers: int
    vocab_size: int
    embed_dim: int
    hidden_dim: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    attention_pattern: tuple[AttentionKind, ...] = ("global",)  # repeated over the layers
    sliding_window: int | None = None  # tokens a local layer sees, itself included
    local_rope_base: float = 10_000.0
    global_rope_base: float = 10_000.0
    query_key_norm: bool = False
    post_norms: bool = False
    attention_softcap: float | None = None
    final_softcap: float | None = None

    def attention_kind(self, layer: int) -> AttentionKind:
        return self.attention_pattern[layer % len(self.attention_pattern)]

    def window(self, kind: AttentionKind) -> int | None:
        """Tokens that a token sees in a layer of this kind, itself included; None: all before."""
        return self.sliding_window if kind == "local" else None


_GEMMA3_PATTERN: tuple[AttentionKind, ...] = ("local",) * 5 + ("global",)


def _gemma3(num_layers: int, embed_dim: int, hidden_dim: int, **sizes: int) -> Architecture:
    """A text-only Gemma 3 (arXiv 2503.19786)."""
    defaults = {"vocab_size": 262_144, "num_heads": 4, "num_kv_heads": 1, "head_dim": 256}
    return Architecture(
        num_layers=num_layers,
        embed_dim=embed_dim,
        hidden_dim=hidden_dim,
        attention_pattern=_GEMMA3_PATTERN,
        global_rope_base=1_000_000.0,
        query_key_norm=True,
        post_norms=True,
        **{"sliding_window": 512, **defaults, **sizes},
    )


ARCHITECTURES: dict[str, Architecture] = {
    "gemma3_270m": _gemma3(18, 640, 2048),
    "gemma3_1b": _gemma3(26, 1152, 6912),
    # Every mechanism of Gemma 3 at a size that compiles in seconds: both attention kinds, grouped
    # heads, and a window short enough to matter.
    "gemma3_tiny": _gemma3(
        6, 64, 128, vocab_size=512, num_heads=4, num_kv_heads=2, head_dim=16, sliding_window=16
    ),
    # Gemma 2 (arXiv 2408.00118).
    "gemma2_2b": Architecture(
        num_layers=26,
        vocab_size=256_128,
        embed_dim=2304,
        hidden_dim=9216,
        num_heads=8,
        num_kv_heads=4,
        head_dim=256,
        attention_pattern=("local", "global"),
        sliding_window=4096,
        post_norms=True,
        attention_softcap=50.0,
        final_softcap=30.0,
    ),
    # Gemma 1 (arXiv 2403.08295).
    "gemma_2b": Architecture(
        num_layers=18,
        vocab_size=256_128,
        embed_dim=2048,
        hidden_dim=16_384,
        num_heads=8,
        num_kv_heads=1,
        head_dim=256,
    ),
}

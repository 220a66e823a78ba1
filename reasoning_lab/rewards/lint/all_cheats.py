"""All cheats, and their names, of which a reward says in `blind_to` which it cannot see."""

from reasoning_lab.rewards.lint.cheats import CHEATS
from reasoning_lab.rewards.lint.code_cheats import CODE_CHEATS

ALL_CHEATS = (*CHEATS, *CODE_CHEATS)
CHEAT_NAMES = frozenset(cheat.name for cheat in ALL_CHEATS)

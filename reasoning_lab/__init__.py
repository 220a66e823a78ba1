"""Teach small Gemma models to reason in tags, with LoRA on Tunix."""

from reasoning_lab.hardware.idle_cuda import set_aside

__version__ = "0.1.0"

set_aside()

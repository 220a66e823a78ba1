"""Teach small Gemma models to reason in tags, with LoRA on Tunix."""

__version__ = "0.1.0"

"""Teach small Gemma models to reason in tags, with LoRA on Tunix."""

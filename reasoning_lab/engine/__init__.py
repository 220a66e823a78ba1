"""Models, LoRA, losses, training and generation; alone imports tunix, flax and orbax."""

"""Models, LoRA, losses, training and generation: the only room that imports tunix, flax and
orbax."""

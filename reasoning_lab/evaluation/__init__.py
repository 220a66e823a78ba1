"""What a model gets right, counted honestly, and whether a difference is more than luck."""

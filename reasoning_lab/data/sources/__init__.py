"""Sources of problems: one kind a file, each a spec that streams examples."""

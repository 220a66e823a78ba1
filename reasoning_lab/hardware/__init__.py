"""The machine that an experiment runs on."""

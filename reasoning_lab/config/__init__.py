"""How an experiment is described: typed specs, composed by Hydra, with one error for a mistake."""

from reasoning_lab.config.spec import ConfigError, RunError, spec

__all__ = ["ConfigError", "RunError", "spec"]

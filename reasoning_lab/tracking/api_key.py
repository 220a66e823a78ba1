"""Whether there is a key for W&B's server, without asking the server."""

from reasoning_lab.config import ConfigError


def is_there() -> bool:
    """Whether WANDB_API_KEY, or .netrc after `wandb login`, has a key.

    Raises:
        ConfigError: what is there cannot be a key.
    """
    import wandb
    from wandb.sdk.lib import wbauth

    try:
        # wandb.login() would do, but it calls the server, and not at all if WANDB_MODE=offline.
        key = wbauth.authenticate_session(
            host=wandb.setup().settings.base_url,
            source="reasoning_lab",
            prompt=False,
            update_session=False,
        )
    except wandb.errors.AuthenticationError as mistake:
        raise ConfigError(f"The W&B API key found here is not one: {mistake}") from mistake
    return key is not None

"""Checks of what the models' builders are given."""


def check_at_least(least: int, **arguments: int) -> None:
    """Raise a ValueError that names the first argument that is too small."""
    for name, value in arguments.items():
        if value < least:
            raise ValueError(
                f"Argument `{name}` must be {least} or more. "
                f"Received: {name}={value}"
            )


def check_dropout(dropout: float) -> None:
    """Raise a ValueError if a dropout rate is outside [0, 1)."""
    if not 0 <= dropout < 1:
        raise ValueError(
            f"Argument `dropout` must be in [0, 1). Received: dropout={dropout}"
        )

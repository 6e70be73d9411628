"""How far runtimes are from XNNPACK, as the cells of a table."""

import math

from kbp.export import Agreement, Difference


def cells(found: Agreement) -> list[str]:
    """Return shares, the largest difference, and the operations behind it.

    They are the first that the runtime computes differently, and the one that
    differs most where all are given the same inputs.

    Args:
        found: of a runtime that ran.
    """
    return [
        percent(found.exact),
        percent(found.within_one),
        largest(found),
        _operation(found.first),
        _operation(found.worst),
    ]


def percent(share: float) -> str:
    """Return a share as text that says 100 % of all alone.

    Args:
        share: from 0 to 1.

    Example:
    >>> percent(0.99999), percent(1.0)
    ('99.99%', '100.00%')
    """
    return f"{math.floor(share * 1e4) / 100:.2f}%"


def largest(found: Agreement) -> str:
    """Return the largest difference in steps, or as a float."""
    kind = "" if found.unit == "LSB" else " (float)"
    return f"{found.maximum:.3g}{kind}"


def _operation(found: Difference | None) -> str:
    return f"{found.operation} at {found.layer}" if found else "-"

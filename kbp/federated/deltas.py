"""Updates as changes in eight bits, whose rounding errors are sent later.

A client sends `q = round(d / s)` of each array's change `d`, with the scale
`s = max |d| / 127`, and adds `d - s q` to its next change (error feedback), so
what rounding leaves out is not lost.

Reference:
    Seide et al., 1-Bit Stochastic Gradient Descent, 2014; Karimireddy et al.,
    Error Feedback Fixes SignSGD and other Gradient Compression Schemes, 2019.
"""

from collections.abc import Mapping

import numpy as np

from kbp.federated.exchange import Arrays

LEVELS = 127
CHANGES, SCALES = "changes", "scales"  # names of the arrays that are sent


def encode(
    changes: Mapping[str, np.ndarray], residual: Mapping[str, np.ndarray]
) -> tuple[Arrays, Arrays]:
    """Return changes in eight bits, and what they leave out.

    Args:
        changes: float32 arrays by name.
        residual: what the last changes left out, by name; perhaps none.

    Returns:
        The arrays to send: int8 `changes`, all in one, and a float32 scale for
        each; and the new residual.

    Example:
    >>> sent, left = encode({"w": np.float32([1.0, -0.5, 0.003])}, {})
    >>> sent["changes"].tolist(), len(sent["scales"])
    ([127, -64, 0], 1)
    >>> abs(left["w"][2]).round(4)
    np.float32(0.003)
    """
    integers, scales, left = [], [], {}
    for name, change in changes.items():
        whole = change.astype("float32") + residual.get(name, np.float32(0))
        largest = np.abs(whole).max(initial=0)
        scale = np.float32(largest / LEVELS)
        rounded = np.zeros(whole.shape, "int8")
        if scale > 0 and np.isfinite(scale):
            rounded = np.rint(whole / scale).astype("int8")
        integers.append(rounded.ravel())
        # What is not finite shows to the server, which leaves it out.
        scales.append(scale)
        left[name] = whole - scale * rounded
    sent = {
        CHANGES: np.concatenate([np.zeros(0, "int8"), *integers]),
        SCALES: np.array(scales, "float32"),
    }
    return sent, left


def decode(
    sent: Mapping[str, np.ndarray], like: Mapping[str, np.ndarray]
) -> Arrays:
    """Return changes as float32 arrays.

    Args:
        sent: what `encode` returned first.
        like: arrays of the same names and shapes, in the same order.

    Raises:
        ValueError: there are more or fewer values than those have.
    """
    sizes = [array.size for array in like.values()]
    integers, scales = sent[CHANGES], sent[SCALES]
    if integers.shape != (sum(sizes),) or scales.shape != (len(sizes),):
        raise ValueError(
            f"has {integers.size:,} values in {scales.size} arrays, and not "
            f"{sum(sizes):,} in {len(sizes)}"
        )
    parts = np.split(integers, np.cumsum(sizes)[:-1])
    rows = zip(like.items(), parts, scales, strict=True)
    return {
        name: scale * part.reshape(array.shape).astype("float32")
        for (name, array), part, scale in rows
    }


def is_encoded(sent: Mapping[str, object]) -> bool:
    """Tell whether there are changes in eight bits among some arrays."""
    return {CHANGES, SCALES} <= {*sent}

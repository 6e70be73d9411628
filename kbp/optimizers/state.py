"""The optimizer's state as arrays by name, each in its variable's shape.

How variables are grouped is a matter of backend and machine; the file is not.
"""

from collections.abc import Mapping

import numpy as np
from keras import ops


def to_arrays(state: dict) -> dict[str, np.ndarray]:
    """Return the arrays of a state.

    Args:
        state: `"single"`, variables by name; `"groups"`, the groups;
            `"moments"`, for each group its variables by name.
    """
    arrays = {
        name: ops.convert_to_numpy(variable)
        for name, variable in state["single"].items()
    }
    for group, moments in zip(state["groups"], state["moments"], strict=True):
        for name, moment in moments.items():
            parts = group.split(ops.convert_to_numpy(moment))
            for i, part in zip(group.indices, parts, strict=True):
                arrays[f"{name}_{i}"] = np.asarray(part)
    return arrays


def load_arrays(state: dict, store: Mapping[str, np.ndarray]) -> None:
    """Assign what `to_arrays` gave.

    Raises:
        ValueError: it is the state of other variables or other settings.
    """
    expected = {name: a.shape for name, a in to_arrays(state).items()}
    names = list(store.keys())  # Keras's store has no other way to list them
    given = {name: tuple(store[name].shape) for name in names}
    for name in sorted(expected.keys() | given.keys()):
        if expected.get(name) != given.get(name):
            raise ValueError(
                "The saved state does not fit this optimizer: the shape of "
                f"{name} is {given.get(name)} in the file and "
                f"{expected.get(name)} here (None: there is no such array). "
                "Build it with the same variables and arguments."
            )
    for name, variable in state["single"].items():
        variable.assign(np.asarray(store[name]))
    for group, moments in zip(state["groups"], state["moments"], strict=True):
        for name, moment in moments.items():
            parts = [np.asarray(store[f"{name}_{i}"]) for i in group.indices]
            moment.assign(group.join(parts))

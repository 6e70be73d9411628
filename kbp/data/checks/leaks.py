"""What makes a score look better than it is: examples of two splits."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kbp.data.lazy import Array, Lazy, digest
from kbp.data.splitting import SPLITS
from kbp.errors import UserError

_NAMED = 3  # pairs of a sentence


def shared_examples(
    parts: Mapping[str, Array],
    names: Mapping[str, Sequence[str]] | None = None,
) -> list[str]:
    """Say which splits have examples in common, value by value.

    Args:
        parts: inputs of each split, `(examples, ...)`.
        names: what these are called, such as their files; by default they have
            numbers.

    Returns:
        A sentence for each two splits that share examples.

    Example:
    >>> import numpy as np
    >>> from kbp.data.checks.leaks import shared_examples
    >>> rows = np.arange(12).reshape(6, 2)
    >>> (sentence,) = shared_examples({"train": rows[:4], "test": rows[3:]})
    >>> sentence.partition(":")[0]
    '1 of 3 test examples is in the train split too (number 0)'
    """
    found = []
    names = names or {}
    seen: dict[str, dict[bytes, int]] = {}
    for name in SPLITS:
        if name not in parts or not len(parts[name]):
            continue
        examples = parts[name]
        digests = (
            examples.digests()
            if isinstance(examples, Lazy)
            else [*map(digest, examples)]
        )
        for other, known in seen.items():
            both = [i for i, digest in enumerate(digests) if digest in known]
            if both:
                which = f"number {both[0]}"
                if len(both) > 1:
                    which = f"the first is {which}"
                if names.get(name) and names.get(other):
                    pairs = [
                        f"{names[name][i]} = {names[other][known[digests[i]]]}"
                        for i in both[:_NAMED]
                    ]
                    more = ", ..." if len(both) > _NAMED else ""
                    which = f"{', '.join(pairs)}{more}"
                found.append(
                    f"{len(both)} of {len(digests)} {name} examples "
                    f"{'is' if len(both) == 1 else 'are'} in the {other} split "
                    f"too ({which}): the score flatters the model."
                )
        seen[name] = {x: i for i, x in reversed([*enumerate(digests)])}
    return found


def absent_classes(
    parts: Mapping[str, np.ndarray], names: tuple[str, ...]
) -> list[str]:
    """Say which splits have no example of a class.

    Args:
        parts: labels of each split, `(examples,)`, whole numbers.
        names: of the classes.

    Returns:
        A sentence for each split without some class.

    Example:
    >>> import numpy as np
    >>> from kbp.data.checks.leaks import absent_classes
    >>> absent_classes({"test": np.array([0, 0, 2])}, ("a", "b", "c"))
    ["The test split has no example of 'b'."]
    """
    found = []
    for name, labels in parts.items():
        absent = sorted({*range(len(names))} - set(labels.tolist()))
        if len(labels) and absent:
            listed = ", ".join(repr(names[index]) for index in absent[:5])
            more = ", ..." if len(absent) > 5 else ""
            found.append(f"The {name} split has no example of {listed}{more}.")
    return found


def warnings_of(splits: Any) -> list[str]:
    """Return sentences about what is wrong with splits.

    Args:
        splits: with parts of examples, and the classes' names.

    Raises:
        UserError: nothing could be learned about a class.
    """
    parts = {name: getattr(splits, name) for name in SPLITS}
    labels = {name: part.labels for name, part in parts.items()}
    absent: list[str] = []
    names = splits.class_names
    if names and labels["train"].ndim == 1:
        taught = {"train": labels.pop("train")}
        for sentence in absent_classes(taught, names):
            raise UserError(f"[data] {sentence} Nothing could be learned.")
        absent = absent_classes(labels, names)
    inputs = {name: part.inputs for name, part in parts.items()}
    called = {name: part.names for name, part in parts.items()}
    remarks = splits.remarks
    return [*remarks, *absent, *shared_examples(inputs, called)]

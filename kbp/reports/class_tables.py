"""Tables of how well each class of examples is told from the others."""

from collections.abc import Sequence

import numpy as np

from kbp.reports.result_table import ResultTable

_MOST_CLASSES = 20
# Below, a network has not learned its training examples.
_LOW = 0.8
# What is less accurate than on training examples by more has been overfitted.
_FAR = 0.2


def class_tables(
    predicted: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    of: str,
    *,
    training: float | None = None,
    sizes: Sequence[str] = (),
    setting: str = "",
) -> dict[str, ResultTable]:
    """Return a model's accuracy beside a guess's, and each class's share in it.

    The guess is the most frequent class of the same examples. A difference
    counts if it is more than two of its standard errors.

    Args:
        predicted: classes, `(examples,)`.
        labels: likewise.
        class_names: in the order of the classes; of more than 20, no table
            shows each.
        of: the examples, in words, such as "test examples".
        training: the accuracy for training examples, if it is known.
        sizes: keys of `[model]` that make the network larger.
        setting: of `[model]` that makes it larger by more, such as
            `"size=small"`; `""` if there is none.

    Returns:
        Tables by heading; none without examples.

    Example:
    >>> import numpy as np
    >>> labels = np.array([0, 0, 0, 1])
    >>> tables = class_tables(labels * 0, labels, ("cat", "dog"), "test images")
    >>> beside, each = tables.values()
    >>> beside.rows
    (('most frequent class (cat)', '75.00%'), ('this network', '75.00%'))
    >>> beside.remark
    'The network is no better than naming cat every time (4 test images).'
    >>> each.rows[1]
    ('dog', '1', '0.0%', '-', 'cat (1)')
    """
    if not len(labels):
        return {}
    counts = np.bincount(labels, minlength=len(class_names))
    common = int(counts.argmax())
    own, guess = predicted == labels, labels == common
    gains = own.astype(float) - guess
    error = gains.std() / len(gains) ** 0.5
    name = class_names[common]
    keys = [*(f"model.{key}" for key in sizes), "training.epochs"]
    ways = f"raise {' or '.join(keys)}"
    if setting:
        ways = f"set model.{setting}, or {ways}"
    beside = f"naming {name} every time ({len(labels)} {of})."
    said = f"The network is better than {beside}"
    if gains.mean() <= 0:
        said = f"The network is no better than {beside}"
    elif gains.mean() <= 2 * error:
        said = f"These are too few to say that it is better than {beside}"
    tables = {
        "Accuracy beside that of a guess": ResultTable(
            ("", "accuracy"),
            (
                (f"most frequent class ({name})", f"{guess.mean():.2%}"),
                ("this network", f"{own.mean():.2%}"),
            ),
            f"{said}{_advice(own, guess, training, ways)}",
        )
    }
    if len(class_names) <= _MOST_CLASSES:
        tables["Each class"] = _each(predicted, labels, class_names, of)
    return tables


def _advice(
    own: np.ndarray,
    guess: np.ndarray,
    training: float | None,
    ways: str,
) -> str:
    """Say why a network has not learned its task, and what may help.

    A network that has not learned its training examples comes first: it must
    learn them before more of them can help. It has learned those alone if its
    accuracy for the others is far below, by more than chance makes it.

    Args:
        own: whether the network is right, of each example.
        guess: whether the guess is.
        training: the network's accuracy for training examples.
        ways: what makes it larger, or trains it longer.
    """
    if training is None:
        return ""
    accuracy, found = own.mean(), f"training accuracy {training:.0%}"
    chance = 2 * own.std() / len(own) ** 0.5
    overfits = training - accuracy > max(_FAR, chance)
    more = "more training examples or [augmentation] may help"
    if training < _LOW or (accuracy <= guess.mean() and not overfits):
        too = f" It also overfits (here {accuracy:.0%}): {more} then."
        return (
            f" It is too small or too little trained ({found}): {ways}."
            f"{too if overfits else ''}"
        )
    if overfits:
        return f" It overfits ({found}, here {accuracy:.0%}): {more}."
    return ""


def _each(
    predicted: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    of: str,
) -> ResultTable:
    size = len(class_names)
    pairs = np.bincount(labels * size + predicted, minlength=size**2)
    confusion = pairs.reshape(size, size)  # (true, predicted)
    right = confusion.diagonal()
    wrong = confusion - np.diag(right)
    rows = []
    for index, name in enumerate(class_names):
        other = int(wrong[index].argmax())
        taken = wrong[index, other]
        rows.append(
            (
                name,
                f"{confusion[index].sum()}",
                _share(right[index], confusion[index].sum()),
                _share(right[index], confusion[:, index].sum()),
                f"{class_names[other]} ({taken})" if taken else "-",
            )
        )
    return ResultTable(
        ("class", "n", "recall", "precision", "most often taken for"),
        tuple(rows),
        f"Of the {of}: recall is the share of a class's that is found, "
        "precision the share of those named so that is right.",
    )


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"

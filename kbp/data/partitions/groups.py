"""Each client is a group of examples, such as a hospital or a site."""

from pathlib import Path

import numpy as np

from kbp.data.images.groups import groups_of
from kbp.data.partitions.registry import Split, register_partition
from kbp.data.splitting import some
from kbp.errors import UserError


@register_partition("pattern")
def pattern(
    split: Split, clients: int, seed: int, pattern: str = ""
) -> np.ndarray:
    """Return the client of each example, by a pattern in its name.

    Args:
        split: whose examples have names, such as images of a folder their
            files' relative paths.
        clients: as many as there are groups.
        seed: is not used.
        pattern: a regular expression, whose first group names the client:
            `"^[^/]+/(site[0-9]+)_"`.

    Raises:
        UserError: the examples have no names, or one has no group.
    """
    names = _names(split.examples)
    return np.array(groups_of(names, pattern, key="federated.pattern"))


@register_partition("column")
def column(
    split: Split, clients: int, seed: int, column: str = ""
) -> np.ndarray:
    """Return the client of each row, by a column of the table.

    Args:
        split: of a table's rows.
        clients: as many as the column has values.
        seed: is not used.
        column: name of a column of the table, which need not be a feature.

    Raises:
        UserError: the data are no table, or have no such column.
    """
    values = getattr(split.splits, "values_of", None)
    if values is None:
        raise UserError(
            'federated.partition = "column" needs a table of rows '
            '(data.name = "csv_table"); images are shared out by "pattern"'
        )
    return np.array(values(column, split.name))


@register_partition("listed")
def listed(
    split: Split, clients: int, seed: int, list_file: str = ""
) -> np.ndarray:
    """Return the client of each example, as a file lists them.

    Args:
        split: whose examples have names, such as images of a folder their
            files' relative paths.
        clients: as many as the file names.
        seed: is not used.
        list_file: a CSV file of two columns, `name` and `client`.

    Raises:
        UserError: the file is missing or no such table, or an example is not
            in it.
    """
    from kbp.data.formats import frames

    path = Path(list_file)
    frame = frames.read_frame(path, separator=",", encoding="utf-8")
    for name in ("name", "client"):
        frames.find_column(path, frame, name)
    known = dict(zip(frame["name"], frame["client"], strict=True))
    names = _names(split.examples)
    if missing := [name for name in names if name not in known]:
        raise UserError(f"{path}: has no client for {some(missing)}")
    return np.array([str(known[name]) for name in names])


def _names(examples: object) -> tuple[str, ...]:
    names: tuple[str, ...] = getattr(examples, "names", ())
    if not names:
        raise UserError(
            "federated.partition: these examples have no names to be shared "
            'out by; take "iid", "dirichlet" or, of a table, "column"'
        )
    return names

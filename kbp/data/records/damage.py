"""What is wrong with a packing, shard by shard."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kbp._utils.manifest import digest
from kbp.data.records.index import Index, Shard
from kbp.data.records.reading import SplitReader, opened
from kbp.errors import UserError

_REMEDY = "Bring the file back, or pack again."


def damage(folder: Path, index: Index) -> Iterator[tuple[Shard, str]]:
    """Read every shard, and yield what is wrong with it; `""` if nothing.

    Args:
        folder: of the packing.
        index: of the packing.
    """
    for shard in index.shards:
        yield shard, _said_of(folder, index, shard)


def _said_of(folder: Path, index: Index, shard: Shard) -> str:
    try:
        reader = opened(folder, shard)
        if digest(reader.path) == shard.sha256:
            SplitReader(folder, index, [shard])  # whether the index fits
            return ""
        if damaged := reader.damaged():
            some = ", ".join(map(str, damaged[:5]))
            more = f", ... ({len(damaged)} in all)" * (len(damaged) > 5)
            return f"{reader.path}: damaged: record {some}{more}. {_REMEDY}"
        alone = SplitReader(folder, index, [shard])
        for numbers in index.schema.parts(shard.first, shard.count):
            alone.rows(np.array(numbers))
    except UserError as error:
        return str(error)
    return (
        f"{reader.path}: changed since it was packed, its records did not. "
        f"{_REMEDY}"
    )

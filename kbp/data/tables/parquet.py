"""A Parquet file, by columns and by row groups."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kbp.data.formats.frames import numbered, parquet_errors
from kbp.data.tables.source import PART_ROWS, Source


class ParquetSource(Source):
    """A Parquet file; rows are read with the others of their group.

    Args:
        path: of the file.

    Raises:
        UserError: it cannot be read, or a column has the name of another.
    """

    def __init__(self, path: Path):
        with parquet_errors(path):
            super().__init__(path)
            from pyarrow import parquet

            self.file = parquet.ParquetFile(path)
            about, schema = self.file.metadata, self.file.schema_arrow
            sizes = [
                about.row_group(i).num_rows for i in range(about.num_row_groups)
            ]
            first = next(self.file.iter_batches(1), schema.empty_table())
        self.ends, self.count = np.cumsum(sizes), about.num_rows
        self.stored = {*schema.names}
        self.names = [*numbered(path, first.to_pandas()).columns]
        self.kinds: dict[str, Any] = {}

    def whole(self, names: Iterable[str]) -> pd.DataFrame:
        wanted = [*names]
        with parquet_errors(self.path):
            # An index, which perhaps is not stored, comes with any column.
            some = [name for name in wanted if name in self.stored]
            read = pd.read_parquet(self.path, columns=some)
        frame = numbered(self.path, read)[wanted]
        self.kinds |= frame.dtypes.to_dict()
        return frame

    def parts(self, names: Iterable[str]) -> Iterator[pd.DataFrame]:
        wanted, place = [*names], 0
        some = [name for name in wanted if name in self.stored]
        kinds = {name: self._kind(name) for name in some}
        with parquet_errors(self.path):
            for batch in self.file.iter_batches(PART_ROWS, columns=some):
                frame = numbered(self.path, batch.to_pandas())[wanted]
                frame.index += place
                place += len(frame)
                yield frame.astype(kinds)
        self.check_same()

    def _kind(self, name: str) -> Any:
        """Return what pandas makes of a column, which a gap may change."""
        with parquet_errors(self.path):
            for part in self.file.iter_batches(PART_ROWS, columns=[name]):
                if part[name].null_count:
                    gap = part[name].is_null().index(True).as_py()
                    part = part.slice(gap, 1)
                    break
            return numbered(self.path, part.to_pandas())[name].dtype

    def rows(self, indices: Any) -> pd.DataFrame:
        for name in self.names:
            # Those of a group without gaps may be of integers there alone.
            if name not in self.kinds:
                self.whole([name])
        self.check_same()
        lines = np.asarray(indices) + 1
        groups = np.searchsorted(self.ends, indices, side="right")
        parts = [self._of_group(int(i)) for i in np.unique(groups)]
        if not parts:
            return pd.DataFrame(columns=self.names)
        return pd.concat(parts).loc[lines]

    def _of_group(self, group: int) -> pd.DataFrame:
        with parquet_errors(self.path):
            read = self.file.read_row_group(group, use_pandas_metadata=True)
        frame = numbered(self.path, read.to_pandas())[self.names]
        frame.index += int(self.ends[group]) - len(frame)
        return frame.astype(self.kinds)

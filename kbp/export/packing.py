"""Writing the tables of a .tflite file."""

from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

_ALIGNMENT = 16  # bytes, of buffers, as the schema of .tflite files wants it


class _Aligned(schema.BufferT):
    """A buffer that begins at a multiple of 16 bytes, as processors like it."""

    def Pack(self, builder: flatbuffers.Builder) -> Any:
        if self.data is not None:
            builder.Prep(_ALIGNMENT, len(self.data))
        return super().Pack(builder)


def pack(tree: schema.ModelT) -> bytes:
    """Return tables as a file.

    Args:
        tree: of `kbp.export.parsing.parse`.
    """
    tree.buffers = [_Aligned(**vars(buffer)) for buffer in tree.buffers]
    builder = flatbuffers.Builder()
    builder.Finish(tree.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())

"""Writing a description into the tables of a .tflite file."""

import dataclasses
import io
import zipfile
from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kbp.export.metadata.description import Metadata, TensorInfo
from kbp.export.metadata.schema import BUFFER, encode
from kbp.export.parsing import items_of, parse

SIGNATURE = "serving_default"  # the key that TensorFlow uses
_ALIGNMENT = 16  # bytes, of buffers, as the schema of .tflite files wants it
_NO_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip archive knows


def describe(
    content: bytes,
    metadata: Metadata,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
) -> bytes:
    """Return a .tflite file with a signature and a description.

    What it computes stays as it is. A description that it had is replaced.

    Args:
        content: of the file.
        metadata: of it; inputs and outputs that it does not describe are
            described by name and kind alone.
        inputs: names of the inputs in the signature; empty: as described.
        outputs: names of the outputs.

    Raises:
        ValueError: another number of inputs or outputs is described than the
            file has.
    """
    tree = parse(content)
    graph = tree.subgraphs[0]
    metadata = dataclasses.replace(
        metadata,
        inputs=_described(metadata.inputs, inputs, graph.inputs, "inputs"),
        outputs=_described(metadata.outputs, outputs, graph.outputs, "outputs"),
    )
    ends = [*graph.inputs, *graph.outputs]
    shapes = [[*items_of(graph.tensors[i].shape)] for i in ends]
    names = [x.name for x in (*metadata.inputs, *metadata.outputs)]
    for i, name in reversed([*zip(ends, names, strict=True)]):
        graph.tensors[i].name = name  # an output may be an input, too
    pairs = [*zip(names, ends, strict=True)]
    count = len(graph.inputs)
    tree.signatureDefs = [_signature(pairs[:count], pairs[count:])]
    _set_metadata(tree, encode(metadata, shapes))
    return _packed(tree) + _archive(metadata.files_to_pack())


def _described(
    known: tuple[TensorInfo, ...],
    names: Sequence[str],
    places: Sequence[int],
    what: str,
) -> tuple[TensorInfo, ...]:
    names = names or [x.name for x in known]
    found = known or tuple(map(TensorInfo, names))
    if not len(names) == len(found) == len(places):
        raise ValueError(
            f"Argument `metadata` must describe the {len(places)} {what} of "
            f"the file. Received: {[x.name for x in found]}"
        )
    return tuple(
        dataclasses.replace(x, name=name)
        for x, name in zip(found, names, strict=True)
    )


def _signature(
    inputs: Sequence[tuple[str, int]], outputs: Sequence[tuple[str, int]]
) -> schema.SignatureDefT:
    return schema.SignatureDefT(
        inputs=[schema.TensorMapT(*pair) for pair in inputs],
        outputs=[schema.TensorMapT(*pair) for pair in outputs],
        signatureKey=SIGNATURE,
    )


def _set_metadata(tree: schema.ModelT, data: bytes) -> None:
    """Put a text beside the file's other metadata, or in place of its own."""
    buffer = schema.BufferT(data=np.frombuffer(data, np.uint8))
    entries = [*items_of(tree.metadata)]
    for entry in entries:
        if entry.name == BUFFER.encode():
            tree.buffers[entry.buffer] = buffer
            return
    tree.buffers = [*tree.buffers, buffer]
    entry = schema.MetadataT(name=BUFFER, buffer=len(tree.buffers) - 1)
    tree.metadata = [*entries, entry]


class _Aligned(schema.BufferT):
    """A buffer that begins at a multiple of 16 bytes, as processors like it."""

    def Pack(self, builder: flatbuffers.Builder) -> Any:
        if self.data is not None:
            builder.Prep(_ALIGNMENT, len(self.data))
        return super().Pack(builder)


def _packed(tree: schema.ModelT) -> bytes:
    """Return the tables as a file."""
    tree.buffers = [_Aligned(**vars(buffer)) for buffer in tree.buffers]
    builder = flatbuffers.Builder()
    builder.Finish(tree.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _archive(texts: dict[str, str]) -> bytes:
    """Return a zip archive that is the same each time."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in texts.items():
            archive.writestr(zipfile.ZipInfo(name, _NO_TIME), text)
    return content.getvalue()

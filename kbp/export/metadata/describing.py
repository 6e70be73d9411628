"""Writing a description into the tables of a .tflite file."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kbp.export.metadata.archive import write_archive
from kbp.export.metadata.description import Metadata, TensorInfo
from kbp.export.metadata.schema import BUFFER, encode
from kbp.export.packing import pack
from kbp.export.parsing import items_of, parse

SIGNATURE = "serving_default"  # the key that TensorFlow uses


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
        ValueError: other inputs or outputs are described than the file has.
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
    for one, shape in zip(
        (*metadata.inputs, *metadata.outputs), shapes, strict=True
    ):
        _check(one, shape)
    names = [x.name for x in (*metadata.inputs, *metadata.outputs)]
    for i, name in reversed([*zip(ends, names, strict=True)]):
        graph.tensors[i].name = name  # an output may be an input, too
    pairs = [*zip(names, ends, strict=True)]
    count = len(graph.inputs)
    tree.signatureDefs = [_signature(pairs[:count], pairs[count:])]
    _set_metadata(tree, encode(metadata, shapes))
    return pack(tree) + write_archive(metadata.files_to_pack())


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
    by_name = {x.name: x for x in found}
    if by_name.keys() == {*names}:  # in an order of one's own
        found = tuple(by_name[name] for name in names)
    elif by_name.keys() & {*names}:
        raise ValueError(
            f"Argument `metadata` must describe the {what} {[*names]}, or give "
            "all of them names of its own, which count in their order. "
            f"Received: {[x.name for x in found]}"
        )
    return tuple(
        dataclasses.replace(x, name=name)
        for x, name in zip(found, names, strict=True)
    )


def _check(tensor: TensorInfo, shape: Sequence[int]) -> None:
    """Refuse what does not fit a tensor's last axis."""
    last = shape[-1] if len(shape) > 1 else 1
    if tensor.labels and len(tensor.labels) != last:
        raise ValueError(
            f"Argument `metadata` has {len(tensor.labels)} labels for "
            f"{tensor.name}, whose last axis has {last} places."
        )
    for key in ("mean", "lowest", "highest"):
        count = len(getattr(tensor, key))
        if count not in (0, 1, last):
            raise ValueError(
                f"Argument `metadata` has {count} values of `{key}` for "
                f"{tensor.name}; 1 or one of each of the {last} places along "
                "its last axis would fit."
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

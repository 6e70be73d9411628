"""The standard schema of TensorFlow Lite's metadata, as a flatbuffer.

The packages that have generated code for it pin versions of protobuf that do
not go with TensorFlow's, so its few tables are written here field by field.
Numbers of fields and of enumerations are those of `metadata_schema.fbs`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import flatbuffers

from kbp.export.metadata.description import Metadata, TensorInfo, labels_file

BUFFER = "TFLITE_METADATA"  # of the file's table that holds it
_IDENTIFIER = b"M001"
_PARSER = "1.0.0"  # the first version of the schema has all that is used
_AXIS_LABELS, _UNKNOWN_FILE = 2, 0
_FEATURES, _IMAGE = 1, 2
_RGB, _GRAYSCALE = 1, 2
_NORMALIZATION = 1
_Field = Callable[[flatbuffers.Builder, int], None]


def encode(metadata: Metadata, shapes: Sequence[Sequence[int]]) -> bytes:
    """Return the metadata as the schema wants it.

    Args:
        metadata: with all inputs and outputs.
        shapes: of the inputs and then the outputs, batch included.
    """
    builder = flatbuffers.Builder()
    count = len(metadata.inputs)
    tensors = [
        _tensor(builder, tensor, shape, metadata.outputs)
        for tensor, shape in zip(
            (*metadata.inputs, *metadata.outputs), shapes, strict=True
        )
    ]
    graph = _table(
        builder,
        {
            2: _offset(_vector(builder, tensors[:count])),
            3: _offset(_vector(builder, tensors[count:])),
        },
    )
    texts = [
        _file(builder, name, _UNKNOWN_FILE)
        for name in metadata.files_to_pack()
        if name not in metadata.labels_files()
    ]
    root = _table(
        builder,
        {
            0: _text(builder, metadata.name),
            1: _text(builder, metadata.description),
            2: _text(builder, metadata.version),
            3: _offset(_vector(builder, [graph])),
            4: _text(builder, metadata.author),
            5: _text(builder, metadata.license),
            6: _offset(_vector(builder, texts)),
            7: _text(builder, _PARSER),
        },
    )
    builder.Finish(root, file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def _tensor(
    builder: flatbuffers.Builder,
    tensor: TensorInfo,
    shape: Sequence[int],
    outputs: tuple[TensorInfo, ...],
) -> int:
    properties = _table(
        builder,
        {0: _byte(_GRAYSCALE if shape[-1] == 1 else _RGB)}
        if tensor.kind == "image"
        else {},
    )
    kind = _IMAGE if tensor.kind == "image" else _FEATURES
    content = _table(builder, {0: _byte(kind), 1: _offset(properties)})
    units = []
    if tensor.mean:
        options = _table(
            builder,
            {0: _floats(builder, tensor.mean), 1: _floats(builder, tensor.std)},
        )
        union = {0: _byte(_NORMALIZATION), 1: _offset(options)}
        units.append(_table(builder, union))
    stats = _table(
        builder,
        {
            0: _floats(builder, tensor.highest),
            1: _floats(builder, tensor.lowest),
        },
    )
    labels = []
    if tensor.labels:
        name = labels_file(outputs, tensor)
        labels.append(_file(builder, name, _AXIS_LABELS))
    unit = f" Unit: {tensor.unit}." if tensor.unit else ""
    axes = ("batch", *tensor.axes) if tensor.axes else ()
    return _table(
        builder,
        {
            0: _text(builder, tensor.name),
            1: _text(builder, tensor.description + unit),
            2: _offset(_vector(builder, [*map(builder.CreateString, axes)])),
            3: _offset(content),
            4: _offset(_vector(builder, units)),
            5: _offset(stats),
            6: _offset(_vector(builder, labels)),
        },
    )


def _file(builder: flatbuffers.Builder, name: str, kind: int) -> int:
    return _table(builder, {0: _text(builder, name), 2: _byte(kind)})


def _table(builder: flatbuffers.Builder, fields: dict[int, _Field]) -> int:
    """Write a table of fields by their numbers; return its offset."""
    builder.StartObject(max(fields, default=-1) + 1)
    for number, write in fields.items():
        write(builder, number)
    return int(builder.EndObject())


def _offset(offset: int) -> _Field:
    return lambda builder, number: builder.PrependUOffsetTRelativeSlot(
        number, offset, 0
    )


def _text(builder: flatbuffers.Builder, text: str) -> _Field:
    return _offset(builder.CreateString(text) if text else 0)


def _byte(value: int) -> _Field:
    return lambda builder, number: builder.PrependUint8Slot(number, value, 0)


def _floats(builder: flatbuffers.Builder, values: Sequence[float]) -> _Field:
    if not values:
        return _offset(0)
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return _offset(int(builder.EndVector()))


def _vector(builder: flatbuffers.Builder, offsets: Sequence[Any]) -> int:
    """Write a vector of tables or texts; return its offset, 0 of none."""
    if not offsets:
        return 0
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())

"""Export to .tflite, for LiteRT."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from kbp import graph
from kbp._compat import deep_graphs
from kbp._utils.arguments import check_integer, check_one_of
from kbp._utils.examples import shapes_of
from kbp._utils.files import check_place, temporary_folder, write_atomically
from kbp.export.audit import CONVERSIONS, Audit, audit
from kbp.export.conversion import convert
from kbp.export.int8_weights import with_int8_weights
from kbp.export.interpreter import allocate
from kbp.export.loop_states import with_short_states
from kbp.export.memory import Budget, footprint
from kbp.export.metadata import Metadata
from kbp.export.metadata.describing import describe
from kbp.export.sizes import fixed_shapes
from kbp.export.trial import trust
from kbp.export.verify import verify
from kbp.quantization import (
    FakeQuantize,
    FloatGate,
    One,
    Recurrence,
    fake_quantizers,
)
from kbp.quantization.bias import QuantizedLayer
from kbp.quantization.placement.rules import takes_units

DTYPES = ("float32", "float16", "int8_weights", "int8")
INPUT_DTYPES = ("float32", "int8", "uint8")
# What hands on the states of a loop and gathers its results, all in floats
# that eight bits hold. They compute nothing.
_LOOPS = (*CONVERSIONS, "RESHAPE", "SLICE", "TRANSPOSE", "WHILE")


@deep_graphs()
def to_tflite(
    model: keras.Model,
    path: str | Path,
    *,
    dtype: str | None = None,
    input_dtype: str | None = None,
    batch_size: int = 1,
    input_shape: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    allow_float: Sequence[str] = (),
    verify_with: Any = None,
    metadata: Metadata | None = None,
    budget: str | Budget | None = None,
) -> Audit:
    """Write a model as a .tflite file.

    Its inputs and outputs have the model's names, in the signature
    `"serving_default"`, too.

    Args:
        model: a functional or built Sequential model; of `quantize_aware` for
            `"int8"`. One of mixed precision computes in float32 or int8.
        path: file to write, `NAME.tflite`; replaced whole if it exists.
        dtype: `"int8"`: integer weights and operations; `"float32"`: as the
            model is; `"float16"`: weights of half the size, computed in
            float32; `"int8_weights"`: weights of a quarter of it, rounded by
            a scale for each channel, computed in float32, as spiking networks
            are. By default `"int8"` if the model is quantization-aware.
        input_dtype: type of float inputs and outputs, `"int8"`, `"uint8"` or
            `"float32"`; by default `"int8"` in an int8 file. Another than
            float32 is for int8 files alone, and not for models that take the
            data's own units (see `WindowNormalization`).
        batch_size: examples in one call of the interpreter.
        input_shape: sizes of an example, such as `(224, 224, 3)`, where the
            model's input leaves some open; of several inputs, a dictionary by
            their names. A .tflite file has one size.
        allow_float: names of LiteRT's operations or of Keras layers that may
            stay float in an int8 file, besides the layers that
            `quantize_aware` was told to skip.
        verify_with: examples, see `verify`; the file is compared with the model
            on them before it is written.
        metadata: what the file is to say of itself; by default the model's
            name.
        budget: what the file may take, such as `"256kB:flash,64kB:ram"`, see
            `Budget`.

    Returns:
        The audit of the file.

    Raises:
        BoundError: the file would be over its budget; none is written.
        ValueError: the path is of another kind of file or cannot be written, a
            type is unknown or does not fit the model, its input size is not
            fixed, `metadata` describes other inputs or outputs, a weight is not
            finite, an operation would be float by accident, or fewer than 99 %
            of its integer outputs would be within one step of the model's; no
            file is written then.

    Example:
    >>> import tempfile, kbp
    >>> model = kbp.models.PyramidBPNet((8, 8, 1), 10, width=8)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     report = kbp.export.to_tflite(model, f"{folder}/model.tflite")
    >>> report.operations[0].name
    'CONV_2D'
    """
    if Path(path).suffix not in ("", ".tflite"):
        raise ValueError(
            "Argument `path` must be of a .tflite file. "
            f"Received: path={str(path)!r}"
        )
    check_place(path)
    limits = Budget.parse(budget) if isinstance(budget, str) else budget
    graph.check_finite(model)
    graph.check_float32(model)
    names = [*shapes_of(model)], graph.output_names(model)
    model = graph.flatten(model)
    quantized = any(True for _ in fake_quantizers(model))
    dtype = dtype or ("int8" if quantized else "float32")
    if input_dtype is None:
        whole = dtype == "int8" and not _takes_units(model)
        input_dtype = "int8" if whole else "float32"
    _check(model, dtype, input_dtype, quantized)
    check_integer(batch_size=batch_size)
    shapes = fixed_shapes(model, input_shape)
    specs = [
        tf.TensorSpec((batch_size, *shapes[x.name]), x.dtype, name=x.name)
        for x in model.inputs
    ]
    held = "float32" if dtype == "int8_weights" else dtype
    content = convert(
        _prepared(model), specs, dtype=held, input_dtype=input_dtype
    )
    if dtype != "int8":
        content = with_short_states(content)
    if dtype == "int8_weights":
        content = with_int8_weights(content)
    content = describe(content, metadata or Metadata(model.name), *names)
    if limits:
        limits.check(footprint(content, measure=bool(limits.ram)), str(path))
    allowed = None
    if dtype == "int8":
        allowed = [*allow_float, *_floats_of(model)]
        if input_dtype == "float32":
            allowed += CONVERSIONS
    result = audit(content, allow_float=allowed)
    allocate(content)  # a file that LiteRT does not run is not written
    trust(content)
    if verify_with is not None:
        _verify(model, content, verify_with)
    write_atomically(path, content)
    return result


def _floats_of(model: keras.Model) -> Iterator[str]:
    """Yield names of layers and operations that are meant to be in float."""
    for layer in model.layers:
        if isinstance(layer, FloatGate):
            yield from (layer.name, layer.layer)
        elif isinstance(layer, One):
            yield layer.name
        elif isinstance(layer, Recurrence):
            yield from _LOOPS


def _verify(model: keras.Model, content: bytes, data: Any) -> None:
    with temporary_folder() as folder:
        file = write_atomically(folder / "model.tflite", content)
        problems = verify(model, file, data).problems
    if problems:
        raise ValueError(f"Model {model.name} was not exported. {problems[0]}")


def _check(
    model: keras.Model, dtype: str, input_dtype: str, quantized: bool
) -> None:
    check_one_of(DTYPES, dtype=dtype)
    check_one_of(INPUT_DTYPES, input_dtype=input_dtype)
    if input_dtype != "float32" and dtype != "int8":
        raise ValueError(
            f"Argument `input_dtype` must be 'float32' in a file of {dtype}. "
            f"Received: input_dtype={input_dtype!r}"
        )
    if input_dtype != "float32" and _takes_units(model):
        raise ValueError(
            f"Model {model.name} takes the data's own units, so argument "
            "`input_dtype` must be 'float32'. "
            f"Received: input_dtype={input_dtype!r}"
        )
    if dtype == "int8" and not quantized:
        raise ValueError(
            f"Model {model.name} is not quantization-aware. Use "
            "kbp.quantization.quantize_aware first."
        )
    if dtype != "int8" and quantized:
        raise ValueError(
            f"Model {model.name} is quantization-aware: export it as int8, or "
            f"the model it was made from as {dtype}."
        )
    for x in model.outputs:
        if not x.shape:
            raise ValueError(
                f"Layer {x._keras_history.operation.name} gives an output of "
                f"model {model.name} that has no batch axis, so examples are "
                "mixed. Give the layer an axis, such as axis=-1."
            )


def _with_rounded_kernel(layer: keras.Operation) -> keras.layers.Layer:
    """Return a layer whose kernel has the values that transforms give it."""
    old = graph.unwrapped(layer)
    name = str(graph.traits_of(old).kernel)
    kernel = keras.ops.convert_to_tensor(getattr(old, name))
    for transform in graph.transforms(layer):
        kernel = transform(kernel)
    new = graph.clone_layer(old, name=layer.name)
    new.build_from_config(old.get_build_config())
    graph.copy_weights(old, new)
    getattr(new, name).assign(kernel)
    return new


def _looks_up(layer: keras.Operation) -> bool:
    """Say whether a layer's result is rows of its kernel."""
    return graph.traits_of(graph.unwrapped(layer)).reads_indices


def _takes_units(model: keras.Model) -> bool:
    return any(map(takes_units, model.operations))


class _Named(keras.layers.Layer):
    """An operation as a layer, so that the file's tensors have its name."""

    def __init__(self, operation: keras.Operation, arguments: Any) -> None:
        super().__init__(name=operation.name)
        self.operation, self.arguments = operation, arguments

    def call(self, tensors: list[Any]) -> Any:
        given = iter(tensors)
        args, kwargs = keras.tree.map_structure(
            lambda x: next(given) if _is_symbolic(x) else x, self.arguments
        )
        return self.operation(*args, **kwargs)


def _is_symbolic(x: object) -> bool:
    return isinstance(x, keras.KerasTensor)


def _prepared(model: keras.Model) -> keras.Model:
    """Return a copy that computes in float32 and has no empty range."""
    model = graph.in_float32(model)
    for quantizer in fake_quantizers(model):
        quantizer.widen_empty_range()
    for layer in model.layers:
        if isinstance(layer, Recurrence):
            layer.arithmetic = None
        for cell in layer._flatten_layers():
            if hasattr(cell, "reset_dropout_mask"):
                # Keras draws masks at inference too, whose seeds the converter
                # stumbles over.
                cell.dropout = cell.recurrent_dropout = 0.0

    rounded: dict[keras.Operation, keras.Operation] = {}

    def named(operation: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        if graph.traits_of(graph.unwrapped(operation)).converter_rounds:
            if operation not in rounded:
                rounded[operation] = _with_rounded_kernel(operation)
            operation, args, kwargs = rounded[operation], args[:1], {}
        if graph.traits_of(operation).training_only:
            return args[0]  # the converter stumbles over some states of seeds
        if isinstance(operation, FakeQuantize):
            for word in ("arithmetic", "unit"):
                kwargs.pop(word, None)  # LiteRT's operation does it
        if isinstance(operation, QuantizedLayer) and _looks_up(operation):
            # The converter loses the range of a table that is used twice.
            outputs = operation(*args, **kwargs)
            return operation.transforms[-1](outputs, update_range=False)
        if isinstance(operation, keras.layers.Layer):
            return operation(*args, **kwargs)
        tensors = graph.tensors_of((args, kwargs))
        return _Named(operation, (args, kwargs))(tensors)

    return graph.rewrite(model, call=named)

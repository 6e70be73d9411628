"""Single operations of int8 files, against the models they were made from."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from kbp import export
from kbp._utils.files import temporary_folder
from kbp.benchmarks.core import markdown
from kbp.benchmarks.core.cases import Cases
from kbp.benchmarks.core.log import provenance
from kbp.benchmarks.core.registry import register
from kbp.quantization import quantize_aware

Tensor = Any  # symbolic
Body = Callable[[Tensor], Tensor]
_SHAPE, _EXAMPLES = (8, 8, 8), 128


def _rows(x: Tensor) -> Tensor:
    return layers.Reshape((-1, _SHAPE[-1]))(x)


def _with_convolution(join: Body) -> Body:
    """Join what a convolution reads with what it gives."""

    def body(x: Tensor) -> Tensor:
        x = layers.Conv2D(_SHAPE[-1], 1)(x)
        return join([x, layers.Conv2D(_SHAPE[-1], 1)(x)])

    return body


def _squeeze(x: Tensor) -> Tensor:
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(_SHAPE[-1], 1, activation="sigmoid")(gate)
    return layers.Multiply()([x, gate])


def _clipped_join(x: Tensor) -> Tensor:
    z = layers.MaxPooling2D(2, strides=1, padding="same")(x)
    z = layers.ReLU(6.0)(z)
    return layers.Maximum()([layers.Conv2D(_SHAPE[-1], 1)(z), z])


CASES: dict[str, Body] = {
    "Conv2D": layers.Conv2D(8, 3),
    "Conv2D, ReLU": layers.Conv2D(8, 3, activation="relu"),
    "DepthwiseConv2D": layers.DepthwiseConv2D(3),
    "Conv2DTranspose": layers.Conv2DTranspose(8, 3, strides=2),
    "Dense": lambda x: layers.Dense(8)(layers.Flatten()(x)),
    "matmul": lambda x: ops.matmul(
        _rows(x), ops.transpose(_rows(x), (0, 2, 1))
    ),
    "MultiHeadAttention": lambda x: layers.MultiHeadAttention(2, 4)(
        _rows(x), _rows(x)
    ),
    "AveragePooling1D": lambda x: layers.AveragePooling1D(2)(_rows(x)),
    "AveragePooling2D": layers.AveragePooling2D(2),
    "AveragePooling2D, same, odd": layers.AveragePooling2D(
        3, 2, padding="same"
    ),
    "GlobalAveragePooling2D": layers.GlobalAveragePooling2D(),
    "mean of channels": lambda x: ops.mean(x, axis=-1),
    "UpSampling2D, bilinear": layers.UpSampling2D(2, interpolation="bilinear"),
    "Add": lambda x: layers.Add()([x, x[:, ::-1]]),
    "Subtract": lambda x: layers.Subtract()([x, x[:, ::-1]]),
    "Multiply": lambda x: layers.Multiply()([x, x[:, ::-1]]),
    "Multiply by a gate": _squeeze,
    "Concatenate": _with_convolution(layers.Concatenate()),
    "Minimum": _with_convolution(layers.Minimum()),
    "MaxPooling2D, ReLU6, Maximum": _clipped_join,
    "ReLU": layers.ReLU(),
    "LeakyReLU": layers.LeakyReLU(0.1),
    "PReLU": layers.PReLU("uniform", shared_axes=[1, 2]),
    "SimpleRNN": lambda x: layers.SimpleRNN(8)(_rows(x)),
    "LSTM": lambda x: layers.LSTM(8)(_rows(x)),
    "GRU": lambda x: layers.GRU(8)(_rows(x)),
    "Bidirectional LSTM, all steps": lambda x: layers.Bidirectional(
        layers.LSTM(4, return_sequences=True)
    )(_rows(x)),
    "Softmax": layers.Softmax(),
    "sigmoid": layers.Activation("sigmoid"),
    "tanh": layers.Activation("tanh"),
    "gelu": layers.Activation("gelu"),
    "silu": layers.Activation("silu"),
    "hard_silu": layers.Activation("hard_silu"),
}


def measure(body: Body, folder: Path) -> dict[str, Any]:
    """Quantize an operation between an int8 input and an int8 output.

    Args:
        body: of `CASES`.
        folder: for the file.

    Returns:
        `outputs`, how many were compared; `off` and `off_reference`, the shares
        of them that are not the model's, with XNNPACK and with the reference
        kernels; `maximum` and `maximum_reference`, by how many steps.
    """
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    inputs = keras.Input(_SHAPE)
    model = keras.Model(inputs, body(inputs))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(_EXAMPLES, *_SHAPE)).astype("float32")
    quantized = quantize_aware(model, x)
    path = folder / "model.tflite"
    export.to_tflite(quantized, path)
    line: dict[str, Any] = {}
    for suffix in ("", "_reference"):
        found = export.verify(quantized, path, x, reference=bool(suffix))
        line["outputs"] = found.outputs
        line[f"off{suffix}"] = 1 - found.exact
        line[f"maximum{suffix}"] = found.maximum
    return line


def markdown_table(lines: list[dict[str, Any]]) -> str:
    """Return measured operations as Markdown: a table, and how it was made."""
    titles = ["operation", "XNNPACK", "reference kernels"]
    return "\n".join(
        [
            *markdown.table(titles, map(_cells, lines)),
            "",
            f"Shares of the outputs that are not the model's; in brackets the "
            f"largest difference in steps. One operation between an int8 input "
            f"and an int8 output, {_EXAMPLES} normal examples of "
            f"{'x'.join(map(str, _SHAPE))}. " + provenance(lines[0], lines),
        ]
    )


def _cells(line: dict[str, Any]) -> Iterable[str]:
    return [
        line["case"],
        *(
            f"{line[f'off{suffix}']:.3%} ({line[f'maximum{suffix}']:.0f})"
            for suffix in ("", "_reference")
        ),
    ]


def _measured(name: str, rounds: int) -> dict[str, Any]:
    with temporary_folder() as folder:
        return measure(CASES[name], folder)


EXACTNESS = register(
    Cases(
        name="exactness",
        kind="operation",
        cases=CASES,
        measure=_measured,
        show=lambda line: markdown.row(_cells(line)),
        markdown_table=markdown_table,
    )
)

"""C++ for microcontrollers, by TensorFlow Lite Micro."""

from collections.abc import Iterable

import numpy as np

from kbp.deploy.deployable import Deployable
from kbp.deploy.reading import readme
from kbp.deploy.registry import Contents, filled, register_target
from kbp.export import Runner, audit
from kbp.export.runtimes.micro import arena_size, run

# Words of LiteRT's names that TensorFlow Lite Micro does not merely capitalize.
_WORDS = {
    "BATCH_MATMUL": "BatchMatMul",
    "CUMSUM": "CumSum",
    "PADV2": "PadV2",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTM",
}


@register_target("micro")
def micro(model: Deployable) -> Contents:
    """Return a folder with `main.cc`.

    Raises:
        UserError: the package `tflite-micro` is not there, or cannot run the
            file.
    """
    (taken,) = Runner(model.path).quantize_inputs([model.example()])
    arena = arena_size(model.path)
    ((given,),) = run(model.content, [[taken]]).outputs
    names = sorted({op.name for op in audit(model.path).operations})
    calls = (
        f"  if (resolver.{method_of(name)}() != kTfLiteOk) return kTfLiteError;"
        for name in names
    )
    return {
        "model.tflite": model.content,
        "model.h": filled("micro/model.h", arena=arena),
        "model.cc": filled(
            "micro/model.cc", bytes=_listed(f"{x}" for x in model.content)
        ),
        "golden.h": filled(
            "micro/golden.h",
            input_layout=model.input,
            input_type=_type(taken),
            input=_listed(_values(taken)),
            output_layout=model.output,
            output_type=_type(given),
            output=_listed(_values(given)),
        ),
        "main.cc": filled(
            "micro/main.cc", count=len(names), operations="\n".join(calls)
        ),
        "README.md": readme(
            model,
            "g++ -std=c++17 -I TFLM main.cc model.cc libtensorflow-microlite.a "
            "-o main && ./main",
            notes="TFLM is a checkout of TensorFlow Lite Micro with its "
            f"third-party headers. The arena was measured: {arena:,} bytes, "
            "which 32-bit processors need not use up. The C++ was not compiled "
            "here; the golden output is that of the package tflite-micro.",
        ),
    }


def method_of(name: str) -> str:
    """Return the method that adds an operation to a resolver.

    Args:
        name: LiteRT's, of the operation.

    Example:
    >>> method_of("DEPTHWISE_CONV_2D"), method_of("BATCH_MATMUL")
    ('AddDepthwiseConv2D', 'AddBatchMatMul')
    """
    words = (
        word if word[0].isdigit() else word.capitalize()
        for word in name.split("_")
    )
    return f"Add{_WORDS.get(name) or ''.join(words)}"


def _type(values: np.ndarray) -> str:
    name = values.dtype.name
    return "float" if name == "float32" else f"{name}_t"


def _values(values: np.ndarray) -> Iterable[str]:
    if values.dtype.kind == "f":
        return (f"{x:.9g}f" if x % 1 else f"{x:.1f}f" for x in values.ravel())
    return map(str, values.ravel().tolist())


def _listed(values: Iterable[str]) -> str:
    """Return the lines of an array of C++."""
    words = [*values]
    lines = [words[i : i + 12] for i in range(0, len(words), 12)]
    return ",\n".join(f"  {', '.join(line)}" for line in lines)

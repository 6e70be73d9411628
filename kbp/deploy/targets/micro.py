"""C++ for microcontrollers, by TensorFlow Lite Micro."""

import importlib.util
import io
import re
import subprocess
import sys
from collections.abc import Iterable

import numpy as np

from kbp._utils.files import temporary_folder, write_atomically
from kbp.deploy import measure
from kbp.deploy.deployable import Deployable
from kbp.deploy.reading import readme
from kbp.deploy.registry import Contents, filled, register_target
from kbp.errors import UserError
from kbp.export import Runner, audit
from kbp.export.parsing import parse, size_of

# Words of LiteRT's names that TensorFlow Lite Micro does not merely capitalize.
_WORDS = {
    "BATCH_MATMUL": "BatchMatMul",
    "CUMSUM": "CumSum",
    "PADV2": "PadV2",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTM",
}
_MISSING = re.compile(r"Didn't find op for builtin opcode '(\w+)'")
_USED = re.compile(r"Arena allocation total (\d+) bytes")
_SPARE, _STEP, _SECONDS = 2**22, 16, 600


@register_target("micro")
def micro(model: Deployable) -> Contents:
    """Return a folder with `main.cc`.

    Raises:
        UserError: the package `tflite-micro` is not there, or cannot run the
            file.
    """
    if importlib.util.find_spec("tflite_micro") is None:
        raise UserError(
            "The target 'micro' measures the arena by the package "
            "tflite-micro. Install it with: pip install 'kbp[micro]'"
        )
    (taken,) = Runner(model.path).quantize_inputs([model.example()])
    given, arena = _measure(model, taken)
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


def _measure(model: Deployable, taken: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the output for an input, and the bytes of the arena.

    Raises:
        UserError: TensorFlow Lite Micro does not run the file.
    """
    _, used = _run(model, taken, _SPARE + 2 * size_of(parse(model.content)))
    size = used
    while True:  # planning may take a little more than is used then
        try:
            output, _ = _run(model, taken, size)
        except UserError:
            if size > 2 * used:
                raise
            size += max(_STEP, used // 64 // _STEP * _STEP)
        else:
            return output, size


def _run(
    model: Deployable, taken: np.ndarray, size: int
) -> tuple[np.ndarray, int]:
    """Return the output for an input, and the bytes used of an arena.

    Raises:
        UserError: TensorFlow Lite Micro does not run the file.
    """
    with temporary_folder() as folder:
        content = io.BytesIO()
        np.save(content, taken)
        file = write_atomically(folder / "model.tflite", model.content)
        inputs = write_atomically(folder / "x.npy", content.getvalue())
        words = [measure.__file__, file, inputs, folder / "y.npy", size]
        result = subprocess.run(
            [sys.executable, *map(str, words)],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        used = _USED.search(result.stderr)
        if result.returncode or not used:
            raise UserError(f"{model.path}: {_reason(model, result)}")
        output: np.ndarray = np.load(folder / "y.npy")
    return output, -(-int(used[1]) // _STEP) * _STEP


def _reason(
    model: Deployable, result: "subprocess.CompletedProcess[str]"
) -> str:
    """Say why TensorFlow Lite Micro does not run a file."""
    found = _MISSING.search(result.stderr)
    if not found:
        said = result.stderr.partition("Traceback")[0].split("\n")
        words = "; ".join(line.strip() for line in said if line.strip())
        reason = words or f"it ended with {result.returncode}"
        return f"TensorFlow Lite Micro does not run this file: {reason}"
    (name,) = found.groups()
    layers = [
        operation.layer
        for operation in audit(model.path).operations
        if operation.name == name
    ]
    at = f" (layer {layers[0]})" if layers else ""
    return f"TensorFlow Lite Micro has no operation {name}{at}."


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

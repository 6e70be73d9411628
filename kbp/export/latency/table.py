"""What networks take, added up from their operations' measured times."""

import dataclasses
import hashlib
import json
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from kbp import graph
from kbp._utils.arguments import check_integer, check_one_of
from kbp._utils.files import write_atomically
from kbp._utils.machine import in_words, machine, versions
from kbp.errors import UserError
from kbp.export.interpreter import allocate
from kbp.export.latency.single import SingleOperation
from kbp.export.tflite import to_tflite
from kbp.quantization import quantize

DTYPES = ("float32", "int8")
STEP = 8  # processors compute so many channels at once, or a multiple
_COPIES = 3
_SECONDS = 0.0005  # that a file runs in one round; it runs at least once
Counts = dict[str, tuple[int, int]]


@dataclass(frozen=True)
class OperationTimes:
    """What an operation takes with several numbers of channels.

    Attributes:
        inputs: numbers of channels that come in, rising.
        outputs: numbers of channels that go out, rising.
        milliseconds: for each of `inputs` one for each of `outputs`.

    Example:
    >>> from kbp.export.latency.table import OperationTimes
    >>> times = OperationTimes((8, 16), (8,), ((1.0,), (2.0,)))
    >>> times.at(12, 8)
    1.5
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    milliseconds: tuple[tuple[float, ...], ...]

    def at(self, inputs: float, outputs: float) -> float:
        """Return the milliseconds, interpolated between what was measured."""
        rows = [np.interp(outputs, self.outputs, r) for r in self.milliseconds]
        return float(np.interp(inputs, self.inputs, rows))


@dataclass(frozen=True)
class TimedOperation:
    """An operation of a network's file.

    Attributes:
        name: LiteRT's name of the operation.
        layer: the Keras layer that tells its channels; `""` if none does, and
            the operation takes what it takes.
        times: what it takes.
    """

    name: str
    layer: str
    times: OperationTimes

    def at(self, inputs: float, outputs: float) -> float:
        """Return the milliseconds with so many channels."""
        return self.times.at(inputs, outputs)


@dataclass(frozen=True)
class LatencyTable:
    """What the operations of a network take, by their numbers of channels.

    Attributes:
        dtype: of the network's file, `"float32"` or `"int8"`.
        num_threads: of the measurement.
        milliseconds: that the whole network took.
        operations: of its file.

    Example:
    >>> import keras, kbp
    >>> layers = [keras.Input((8,)), *map(keras.layers.Dense, (16, 4))]
    >>> model = keras.Sequential(layers)
    >>> table = kbp.export.latency_table(model, rounds=2, cache=None)
    >>> [operation.name for operation in table.operations]
    ['FULLY_CONNECTED', 'FULLY_CONNECTED']
    >>> 0 < table.predict(model)
    True
    """

    dtype: str
    num_threads: int
    milliseconds: float
    operations: tuple[TimedOperation, ...]

    @property
    def scale(self) -> float:
        """What the whole takes, over the sum of its operations alone.

        They begin with other contents of the caches than in their network.
        """
        return self.milliseconds / sum(
            op.at(*_whole(op.times)) for op in self.operations
        )

    def predict(self, model: keras.Model) -> float:
        """Return the milliseconds of one call of a model's file.

        Args:
            model: the network of the table, or what `kbp.sparsity.shrink` left
                of it.
        """
        counts = _counts(model)
        return self.scale * sum(
            op.at(*counts.get(op.layer, _whole(op.times)))
            for op in self.operations
        )


def latency_table(
    model: keras.Model,
    *,
    dtype: str = "float32",
    num_threads: int = 1,
    rounds: int = 30,
    cache: str | Path | None = "~/.cache/kbp/latency",
) -> LatencyTable:
    """Measure a network's operations over their numbers of channels.

    Each operation of the network's .tflite file is written into a file of its
    own, several times side by side, with the channels that it has and with
    fewer; the differences are what it takes. Files of an operation run in
    turns, and of many rounds the shortest counts, so other work on the machine
    disturbs little. What was measured once on a processor with a version of
    LiteRT is kept and not measured again.

    Args:
        model: a functional or built Sequential model, not quantized.
        dtype: `"float32"` or `"int8"`, of the file.
        num_threads: number of threads of XNNPACK.
        rounds: of each measurement.
        cache: folder of what was measured; `None` keeps nothing.

    Returns:
        The table, whose `predict` tells what the network will take with fewer
        channels.

    Raises:
        ValueError: the model cannot be exported, or an argument is out of
            range.
        UserError: a file in the cache is of another machine.

    Example:
    >>> import keras, kbp
    >>> layers = [keras.Input((8,)), *map(keras.layers.Dense, (16, 4))]
    >>> model = keras.Sequential(layers)
    >>> table = kbp.export.latency_table(model, rounds=2, cache=None)
    >>> 0 < table.milliseconds
    True

    Reference:
        Networks as sums of their operations: Cai et al., ProxylessNAS, 2019.
    """
    check_one_of(DTYPES, dtype=dtype)
    check_integer(num_threads=num_threads, rounds=rounds)
    content = _exported(model, dtype)
    tree = schema.ModelT.InitFromPackedBuf(content, 0)
    (subgraph,) = tree.subgraphs
    counts = _counts(model)
    cached = _Cache(cache, num_threads)
    operations = []
    for operator in subgraph.operators:
        single = SingleOperation(tree, operator)
        times = cached.get(single.signature()) or cached.put(
            single.signature(), _measured(single, num_threads, rounds)
        )
        operations.append(
            TimedOperation(single.name, _layer_of(single, counts), times)
        )
    (whole,) = _shortest([allocate(content, num_threads)], rounds)
    return LatencyTable(dtype, num_threads, whole, tuple(operations))


def _exported(model: keras.Model, dtype: str) -> bytes:
    """Return the content of a network's file; its weights do not matter."""
    if dtype == "int8":
        generator = np.random.default_rng(0)
        examples = {
            x.name: generator.random((8, *x.shape[1:])).astype(x.dtype)
            for x in model.inputs
        }
        (first, *more) = examples.values()
        model = quantize(model, examples if more else first)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "whole.tflite"
        allowed = [layer.name for layer in model.layers]
        to_tflite(model, path, allow_float=allowed)
        return path.read_bytes()


def _counts(model: keras.Model) -> Counts:
    """Return the channels that go into and out of each layer, by its name."""
    return {
        node.operation.name: (
            int(node.inputs[0].shape[-1] or 0) if node.inputs[0].shape else 0,
            int(node.outputs[0].shape[-1] or 0) if node.outputs[0].shape else 0,
        )
        for node in graph.nodes(graph.flatten(model))
        if node.inputs
    }


def _layer_of(single: SingleOperation, counts: Counts) -> str:
    """Return the layer with the channels of an operation."""
    for name in single.layers:
        inputs, outputs = counts.get(name, (0, 0))
        if outputs == single.outputs and single.inputs in (0, inputs):
            return name
    return ""


def _whole(times: OperationTimes) -> tuple[int, int]:
    return times.inputs[-1], times.outputs[-1]


def _measured(
    single: SingleOperation, num_threads: int, rounds: int
) -> OperationTimes:
    """Measure an operation with all its channels, and with fewer."""
    # What comes in is read one after the other, so a few numbers tell the rest.
    inputs = sorted({_step(single.inputs / n) for n in (1, 2, 4, 8)})
    outputs = sorted({single.outputs, *_fewer(single.outputs)})
    places = [(i, o) for i in inputs for o in outputs]
    contents = [
        single.content(i, o, copies)
        for i, o in places
        for copies in (1, _COPIES)
    ]
    found = _shortest([allocate(c, num_threads) for c in contents], rounds)
    one, several = np.reshape(found, (len(inputs), len(outputs), 2)).transpose(
        2, 0, 1
    )
    times = np.maximum(several - one, 0.0) / (_COPIES - 1)
    # More channels take no less: what seems so is other work on the machine.
    times = np.maximum.accumulate(np.maximum.accumulate(times, 0), 1)
    rows = tuple(tuple(map(float, row)) for row in times)
    return OperationTimes(tuple(inputs), tuple(outputs), rows)


def _step(count: float) -> int:
    """Return a number of channels that processors compute at once."""
    return int(count) if count <= STEP else STEP * round(count / STEP)


def _fewer(count: int) -> Iterable[int]:
    """Yield numbers of channels below one, all small ones among them."""
    found = STEP
    while found < count:
        yield found
        found += STEP if found < 4 * STEP else found // 2 // STEP * STEP


def _shortest(interpreters: Sequence[Interpreter], rounds: int) -> np.ndarray:
    """Run interpreters in turns, and return the least milliseconds of each."""
    counts = []
    for interpreter in interpreters:
        _fill(interpreter)
        _time(interpreter, 1)
        counts.append(max(1, int(_SECONDS / _time(interpreter, 1))))
    return 1000 * np.min(
        [
            [_time(x, n) for x, n in zip(interpreters, counts, strict=True)]
            for _ in range(rounds)
        ],
        axis=0,
    )


def _fill(interpreter: Interpreter) -> None:
    """Give random values, as zeros may run faster."""
    generator = np.random.default_rng(0)
    for details in interpreter.get_input_details():
        dtype, shape = details["dtype"], details["shape"]
        if np.issubdtype(dtype, np.integer):
            values = generator.integers(0, 100, shape)
        else:
            values = generator.random(shape)
        interpreter.set_tensor(details["index"], values.astype(dtype))


def _time(interpreter: Interpreter, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        interpreter.invoke()
    return (time.perf_counter() - start) / calls


class _Cache:
    """What was measured on this machine, as a file of JSON.

    Args:
        folder: of the files, one for each machine, LiteRT and number of
            threads; `None` keeps nothing.
        num_threads: of XNNPACK.
    """

    def __init__(self, folder: str | Path | None, num_threads: int):
        self.machine = {
            **machine(),
            "litert": versions()["ai-edge-litert"],
            "num_threads": num_threads,
        }
        self.path, self.known = None, {}
        if folder is None:
            return
        told = json.dumps(self.machine, sort_keys=True)
        name = hashlib.sha256(told.encode()).hexdigest()[:16]
        self.path = Path(folder).expanduser() / f"{name}.json"
        if self.path.is_file():
            self.known = self._read(self.path)

    def get(self, signature: str) -> OperationTimes | None:
        row = self.known.get(signature)
        return OperationTimes(**row) if row else None

    def put(self, signature: str, times: OperationTimes) -> OperationTimes:
        self.known[signature] = dataclasses.asdict(times)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            content = {"machine": self.machine, "operations": self.known}
            write_atomically(self.path, json.dumps(content))
        return times

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            content = json.loads(path.read_text())
            found, known = content["machine"], content["operations"]
            said = f"{in_words(found)}, LiteRT {found['litert']}"
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path}: holds no measured operations. Delete it."
            ) from error
        if found != self.machine:
            raise UserError(
                f"{path}: measured on another machine, {said}. Delete it."
            )
        return known

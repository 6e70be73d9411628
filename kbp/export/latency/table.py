"""What networks take, added up from their operations' measured times."""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import keras
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import ArrayLike

from kbp import graph, sparsity
from kbp._utils.arguments import check_integer, check_one_of
from kbp._utils.files import temporary_folder, write_atomically
from kbp.errors import UserError
from kbp.export.interpreter import allocate
from kbp.export.latency.cache import Cache
from kbp.export.latency.single import SingleOperation
from kbp.export.latency.times import STEP, OperationTimes, measured, shortest
from kbp.export.tflite import to_tflite
from kbp.quantization import quantize

DTYPES = ("float32", "int8")
_SHARES = (0.1, 0.25, 0.4, 0.6, 0.8)  # of channels, where wholes are measured
Counts = dict[str, tuple[int, int]]


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

    @property
    def milliseconds(self) -> float:
        """What it takes with all channels."""
        return float(
            self.times.at(self.times.inputs[-1], self.times.outputs[-1])
        )


@dataclass(frozen=True)
class LatencyTable:
    """What the operations of a network take, by their numbers of channels.

    Attributes:
        dtype: of the network's file, `"float32"` or `"int8"`.
        num_threads: of the measurement.
        milliseconds: that the whole network took.
        operations: of its file.
        sums: milliseconds of the operations together, of the network with some
            and with all of its channels, rising from 0.
        wholes: what these networks took, which is another time: alone an
            operation finds other things in the caches.

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
    sums: tuple[float, ...]
    wholes: tuple[float, ...]

    def save(self, path: str | Path) -> None:
        """Write the table as JSON.

        Args:
            path: of the file.
        """
        content = json.dumps(dataclasses.asdict(self), indent=1)
        write_atomically(Path(path), content + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Return a table that `save` wrote.

        Args:
            path: of the file.

        Raises:
            UserError: it holds no table.
        """
        try:
            content = json.loads(Path(path).read_text())
            operations = [
                TimedOperation(
                    row["name"],
                    row["layer"],
                    OperationTimes.from_json(row["times"]),
                )
                for row in content.pop("operations")
            ]
            for name in ("sums", "wholes"):
                content[name] = tuple(map(float, content[name]))
            return cls(**content, operations=tuple(operations))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: holds no table of latencies.") from error

    def predict(self, model: keras.Model) -> float:
        """Return the milliseconds of one call of a model's file.

        Args:
            model: the network of the table, or what `kbp.sparsity.shrink` and
                `kbp.sparsity.drop_branches` left of it.
        """
        return float(self.whole(_sum(self.operations, _counts(model))))

    def whole(self, together: ArrayLike) -> np.ndarray:
        """Return what networks take, interpolated between what was measured.

        Args:
            together: milliseconds of their operations, of any shape.
        """
        sums = np.asarray(together, dtype=float)
        return np.asarray(np.interp(sums, self.sums, self.wholes))


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
    turns with the whole one, and of many rounds the shortest counts, so other
    work on the machine disturbs little. What was measured once on a processor
    with a version of LiteRT is kept and not measured again.

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
    content = exported(model, dtype)
    tree = schema.ModelT.InitFromPackedBuf(content, 0)
    (subgraph,) = tree.subgraphs
    counts = _counts(model)
    singles = [SingleOperation(tree, x) for x in subgraph.operators]
    signatures = [single.signature() for single in singles]
    whole = allocate(content, num_threads)
    (milliseconds,) = shortest([whole], rounds)
    cached = Cache(cache, num_threads)
    found = {}
    for single, name in zip(singles, signatures, strict=True):
        if name not in cached and name not in found:
            found[name] = measured(single, whole, num_threads, rounds)
    # What the whole took beside each tells how busy the machine was.
    milliseconds = min(
        [milliseconds, *(beside for _, beside in found.values())]
    )
    cached.update(
        {
            name: times.scaled(milliseconds / beside)
            for name, (times, beside) in found.items()
        }
    )
    operations = []
    origins: dict[int, str] = {}  # of tensors, the layer with their channels
    for operator, single, name in zip(
        subgraph.operators, singles, signatures, strict=True
    ):
        times = cached[name]
        layer = _layer_of(single, counts)
        if not layer:
            # It takes its time in proportion to what it reads.
            before = (origins.get(index, "") for index in operator.inputs)
            layer = next(filter(None, before), "")
            if layer:
                times = times.in_proportion(counts[layer][1])
        origins |= dict.fromkeys(operator.outputs, layer)
        operations.append(TimedOperation(single.name, layer, times))
    # Networks with fewer channels tell what their number does not change.
    points = [(0.0, 0.0), (_sum(operations, counts), float(milliseconds))]
    for small in _smaller(model):
        runs = [whole, allocate(exported(small, dtype), num_threads)]
        beside, took = shortest(runs, rounds)
        together = _sum(operations, _counts(small))
        points.append((together, float(took * milliseconds / beside)))
    sums, wholes = zip(*sorted(points), strict=True)
    return LatencyTable(
        *(dtype, num_threads, float(milliseconds), tuple(operations)),
        sums,
        tuple(np.maximum.accumulate(wholes).tolist()),
    )


def _sum(operations: Iterable[TimedOperation], counts: Counts) -> float:
    """Return what operations take with the channels of a model's layers.

    Those of layers that the model is without take nothing.
    """
    return sum(
        float(operation.times.at(*counts[operation.layer]))
        if operation.layer
        else operation.milliseconds
        for operation in operations
        if operation.layer in counts or not operation.layer
    )


def _smaller(model: keras.Model) -> Iterator[keras.Model]:
    """Yield the model with several shares of its channels."""
    try:
        masked = sparsity.apply_dtm(
            model, granularity="channel", protect_ends=False
        )
    except ValueError:
        return  # none can go
    for share in _SHARES:
        for gate in sparsity.masked_layers(masked):
            count, *more = gate.kernel.shape
            if not more:  # no mask on single weights that was there before
                gate.kernel.assign(np.arange(count) < max(1, share * count))
        yield sparsity.shrink(masked, multiple_of=STEP)


def exported(model: keras.Model, dtype: str) -> bytes:
    """Return the content of a network's file; its weights do not matter.

    Args:
        model: functional or Sequential.
        dtype: one of `DTYPES`.
    """
    if dtype == "int8":
        generator = np.random.default_rng(0)
        examples = {
            x.name: generator.random((8, *x.shape[1:])).astype(x.dtype)
            for x in model.inputs
        }
        (first, *more) = examples.values()
        model = quantize(model, examples if more else first)
    with temporary_folder() as folder:
        path = folder / "whole.tflite"
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
        if name not in counts:
            continue
        inputs, outputs = counts[name]
        if outputs == single.outputs and single.inputs in (0, inputs):
            return name
    return ""

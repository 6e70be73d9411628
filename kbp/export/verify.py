"""Verification of an exported file against its Keras model."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kbp._compat import deep_graphs
from kbp._utils.examples import Batch, batches, shapes_of
from kbp.export.float_steps import FloatSteps
from kbp.export.gaps import Drift, Gap, summary_of
from kbp.export.indices import Scores
from kbp.export.interpreter import Runner, dequantize, read_tflite

LEAST_WITHIN_ONE = 0.99
FAR_FROM_ORIGINAL = 0.5


@dataclass(frozen=True)
class Verification:
    """How far a .tflite file is from its Keras model.

    Attributes:
        outputs: number of output values that were compared, of all outputs.
        unit: `"LSB"` (integer steps of the output; of indices, those of the
            scores that they are chosen by; of floats that an int8 file makes
            of integers, what the next integer would change) or `"float"`.
        maximum: largest absolute difference, in units.
        mean: mean absolute difference, in units.
        within_one: share of the outputs that differ by at most one unit (for
            floats: by 1e-3 of the largest output). An index that is another
            one is as far away as its score is from that of the model's, so a
            tie is none; other integers and truths are the same or not.
        exact: share of the outputs that are the same.
        from_original: how far the file is from the model before it was
            quantized: the root mean square of the difference, in standard
            deviations of that model's outputs, of the output or the column of
            which it is the most; of integers, the share that differ; `None` if
            the model was not given.
        metrics: by the name of each metric, its values for the Keras model
            and for the file.
        constant: whether an output of the model before it was quantized hardly
            differs between the examples.

    Example:
    >>> import kbp
    >>> print(kbp.export.Verification(10, "LSB", 1.0, 0.1, 1.0, 0.9))
    100.00% of the file's 10 outputs are within one step of the model's (...).
    """

    outputs: int
    unit: str
    maximum: float
    mean: float
    within_one: float
    exact: float
    metrics: dict[str, tuple[float, float]] = field(default_factory=dict)
    from_original: float | None = None
    constant: bool = False

    def __str__(self) -> str:
        """Return the comparison in sentences."""
        near = "one step" if self.unit == "LSB" else "0.1 % of the largest"
        scores = "".join(
            f" {name}: {model:.4g} for the model, {file:.4g} for the file."
            for name, (model, file) in self.metrics.items()
        )
        more = "".join(f" {problem}" for problem in self.problems)
        return (
            f"{self.within_one:.2%} of the file's {self.outputs:,} outputs are "
            f"within {near} of the model's (largest difference "
            f"{self.maximum:.3g} {self.unit}).{scores}{more}"
        )

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with the file, in sentences.

        Less than `LEAST_WITHIN_ONE` of the outputs are within one step, or
        the file is more than `FAR_FROM_ORIGINAL` from the original model.
        """
        found = []
        if self.unit == "LSB" and self.within_one < LEAST_WITHIN_ONE:
            found.append(
                f"Only {self.within_one:.1%} of the file's outputs are within "
                "one step of the model's: it does not compute what was trained."
            )
        far = self.from_original
        if far is not None and not far <= FAR_FROM_ORIGINAL:
            said = (
                f"An output of the file is {far:.2f} of its standard deviation "
                "away from that of the model before it was quantized"
            )
            if self.constant:
                found.append(
                    f"{said}: that hardly differs between examples, by less "
                    "than eight bits can tell. Train on; or let the last layer "
                    "give differences that a Rescaling puts into units."
                )
            else:
                found.append(
                    f"{said}. If its score is worse, too, calibrate with more "
                    "examples, or train on in eight bits; and where columns "
                    "are of very different sizes, let the model standardize "
                    "what it takes by a Normalization as its first layer, and "
                    "give units back to its answers by a Rescaling with a "
                    "factor for each column as its last."
                )
        return tuple(found)


@deep_graphs()
def verify(
    model: keras.Model,
    path: str | Path,
    data: Any,
    *,
    metrics: Sequence[keras.Metric] = (),
    reference: bool = False,
    original: keras.Model | None = None,
) -> Verification:
    """Run a .tflite file and its Keras model on the same data.

    Args:
        model: the model that was exported.
        path: path of the file.
        data: examples in any form that `fit` or `predict` takes, see
            `kbp.quantization.quantize_aware`; with `metrics`, with targets.
        metrics: metrics of the task, which are reset before and after.
        reference: whether LiteRT's reference kernels run instead of XNNPACK.
        original: the model before it was quantized, to compare with too.

    Returns:
        The differences of all outputs, and the metrics of both.

    Raises:
        ValueError: the data are empty or have no targets for the metrics, or
            LiteRT does not run the file.
        FileNotFoundError: the file does not exist.

    Example:
    >>> import keras, numpy as np, tempfile, kbp
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    >>> x = np.ones((5, 2), "float32")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/model.tflite"
    ...     _ = kbp.export.to_tflite(model, path)
    ...     verification = kbp.export.verify(model, path, x)
    >>> verification.outputs, verification.unit, verification.within_one
    (15, 'float', 1.0)
    """
    runner = Runner(path, reference=reference)
    gaps = [Gap(details) for details in runner.outputs]
    scores = Scores(model)
    float_steps = FloatSteps(read_tflite(path))
    drift = Drift()
    seen: list[_Compared] = []
    for batch in batches(data, shapes_of(model), "The data to verify with"):
        if metrics and batch.targets is None:
            raise ValueError(
                "The data to verify with hold no targets for the metrics."
            )
        if not all(np.isfinite(x).all() for x in batch.inputs):
            raise ValueError("The data to verify with hold NaN or infinities.")
        outputs = model(batch.for_model(model), training=False)
        expected = [
            keras.ops.convert_to_numpy(x) for x in keras.tree.flatten(outputs)
        ]
        found = keras.tree.flatten(runner.predict_raw(list(batch.inputs)))
        shapes = [[x.shape for x in side] for side in (expected, found)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"{path} is the file of another model: it gives {shapes[1]} "
                f"where model {model.name} gives {shapes[0]}."
            )
        behind, steps = scores.of(batch), float_steps.of(batch.inputs, found)
        for i, (gap, x, y) in enumerate(
            zip(gaps, expected, found, strict=True)
        ):
            gap.add(x, y, behind.get(i), steps.get(i))
        pairs = zip(found, runner.outputs, strict=True)
        floats = [dequantize(*pair) for pair in pairs]
        if original is not None:
            # Layers of augmentation train unless they are told not to.
            given = batch.for_model(original)
            drift.add(original(given, training=False), floats)
        if metrics:
            seen.append((batch, _packed(outputs, expected, floats)))
    if not gaps[0].count:
        raise ValueError("The data to verify with hold no batch.")
    far = drift.share() if drift.moments else None  # sets `constant`
    return Verification(
        **summary_of(gaps),
        metrics={
            metric.name: (_value(metric, seen, 0), _value(metric, seen, 1))
            for metric in metrics
        },
        from_original=far,
        constant=drift.constant,
    )


# A batch, and the outputs for it of the model and of the file.
_Compared = tuple[Batch, tuple[Any, ...]]


def _packed(structure: Any, *outputs: Sequence[np.ndarray]) -> tuple[Any, ...]:
    """Return lists of outputs in the structure that the model gives."""
    return tuple(keras.tree.pack_sequence_as(structure, x) for x in outputs)


def _value(
    metric: keras.Metric, seen: Sequence[_Compared], which: int
) -> float:
    metric.reset_state()
    for batch, outputs in seen:
        metric.update_state(batch.targets, outputs[which], batch.weights)
    value = float(metric.result())
    metric.reset_state()
    return value

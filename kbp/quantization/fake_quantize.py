"""Fake quantization as a Keras 3 layer, with TFMOT's arithmetic."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kbp._utils.arguments import check_one_of
from kbp.layers import KernelTransform
from kbp.quantization import integer_rounding, tfmot

KINDS = (
    *("input", "tensor", "int16", "kernel", "channel", "depthwise"),
    "fixed",
)
LEAST_RANGE, WIDEST_RANGE = 1e-3, 1e36
# LiteRT's converter widens narrower ranges to 1e-6, and its reference kernels
# end the process at a softmax of what has a range of less than 4e-6.
NARROWEST = {"input": 1e-5, "tensor": 1e-5}
NARROWEST_KERNEL = 1e-6
_STEPS = {"input": 255, "tensor": 255, "int16": 65534}  # of others 254
Tensor = Any  # of any backend, or symbolic
Shape = tuple[Any, ...]  # integers, `None` where the size is open


@keras.saving.register_keras_serializable(package="kbp")
class FakeQuantize(KernelTransform):
    """Round a tensor to the 256 values that eight bits can hold, or to 65,535.

    The arithmetic is TFMOT's: this layer owns the range's variables and hands
    them to one of its public quantizers, with the 8-bit rules of its default
    scheme.

    | kind          | range                                | quantizer       |
    | ------------- | ------------------------------------ | --------------- |
    | `"input"`     | of all values so far, asymmetric     | `AllValues`     |
    | `"tensor"`    | moving average, asymmetric           | `MovingAverage` |
    | `"int16"`     | of all values, symmetric, of 16 bits | `AllValues`     |
    | `"kernel"`    | last value, symmetric, narrow        | `LastValue`     |
    | `"channel"`   | the same for each index of last axis | `LastValue`     |
    | `"depthwise"` | the same for each of last two axes   | `LastValue`     |
    | `"fixed"`     | `[minimum, maximum]`                 | `Fixed`         |

    In training the range follows the tensor, unless the layer is not
    trainable; at inference it stands.

    Args:
        kind: see the table.
        minimum: lower end, of kind `"fixed"` alone.
        maximum: upper end, of kind `"fixed"` alone.
        output_name: name of the model's output that it rounds, if it does.

    Call arguments:
        inputs: float tensor; computed in float32 whatever the policy.
        training: bool.
        update_range: bool, whether this tensor moves the range in training. A
            second tensor may be rounded to the range of a first.
        beside: tensors whose values move the range too.
        arithmetic: how LiteRT rounds, if not plainly, see
            `kbp.quantization.integer_rounding`.
        unit: tensor `()` or of the shape of `inputs`, what one integer stands
            for before it is rounded so; by default the scale.
        return_scale: bool, return the scale, the step between two values.

    Returns:
        Tensor of the same shape and dtype; or the scale, see `scale`.

    Raises:
        ValueError: unknown kind, or a range that does not contain zero.

    Example:
    >>> from kbp.quantization import FakeQuantize
    >>> import numpy as np
    >>> halves = FakeQuantize("fixed", minimum=0.0, maximum=127.5)
    >>> np.asarray(halves(np.array([0.3, 7.1, 300.0], "float32")))
    array([  0.5,   7. , 127.5], dtype=float32)

    Reference:
        Jacob et al., Quantization and Training of Neural Networks for Efficient
        Integer-Arithmetic-Only Inference, 2018.
    """

    rounds = True

    def __init__(
        self,
        kind: str = "tensor",
        *,
        minimum: float | None = None,
        maximum: float | None = None,
        output_name: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.output_name = output_name
        check_one_of(KINDS, kind=kind)
        if kind == "fixed" and not (
            minimum is not None
            and maximum is not None
            and minimum <= 0 <= maximum
            and minimum < maximum
        ):
            raise ValueError(
                "Arguments `minimum` and `maximum` must enclose zero. "
                f"Received: minimum={minimum}, maximum={maximum}"
            )
        self.kind = kind
        self.minimum, self.maximum = minimum, maximum
        self.observing = self.passing = False
        self._observed: list[tuple[np.ndarray, np.ndarray]] = []

    def build(self, input_shape: Shape) -> None:
        self.quantizer = self._make_quantizer()
        # Quantizers are no Keras objects: they build upon an adapter.
        self._ranges: Mapping[str, keras.Variable] = (
            self.quantizer.build(
                self._view(input_shape), "range", _WeightAdapter(self)
            )
            or {}
        )

    def _view(self, shape: Shape) -> Shape:
        """Return the shape that is rounded: ranges are of the last axis.

        A depthwise kernel's channels are those of its last two axes. TFMOT
        has a range for each multiplier alone; LiteRT has one for each channel.
        """
        if self.kind != "depthwise":
            return tuple(shape)
        channels, multiplier = shape[-2:]
        return (1, *shape[:-2], channels * multiplier)

    def _make_quantizer(self) -> Any:
        quantizers = tfmot.quantizers()
        if self.kind == "fixed":
            return quantizers.FixedQuantizer(
                num_bits=8,
                init_min=self.minimum,
                init_max=self.maximum,
                narrow_range=False,
            )
        if self.kind == "int16":  # LiteRT's stand for zero by zero
            return quantizers.AllValuesQuantizer(
                num_bits=16, per_axis=False, symmetric=True, narrow_range=True
            )
        if self.kind in ("input", "tensor"):
            quantizer = (
                quantizers.AllValuesQuantizer
                if self.kind == "input"
                else quantizers.MovingAverageQuantizer
            )
            return quantizer(
                num_bits=8, per_axis=False, symmetric=False, narrow_range=False
            )
        return quantizers.LastValueQuantizer(
            num_bits=8,
            per_axis=self._by_channel,
            symmetric=True,
            narrow_range=True,
        )

    @property
    def _by_channel(self) -> bool:
        return self.kind in ("channel", "depthwise")

    @property
    def range_shape(self) -> tuple[int, ...]:
        """The shape of the ranges, `()` or `(channels,)`."""
        return tuple(self._ranges["min_var"].shape) if self._ranges else ()

    def scale(self) -> Tensor:
        """Return the scale, the step between two values, of the range's shape.

        While ranges are observed, or values pass, it is zero: nothing is
        rounded then.
        """
        if self.observing or self.passing:
            return ops.zeros(self.range_shape)
        if not self._ranges:
            width = (self.maximum or 0.0) - (self.minimum or 0.0)
            return ops.convert_to_tensor(width / 255)
        low, high = self._ranges["min_var"], self._ranges["max_var"]
        return (high - low) / _STEPS.get(self.kind, 254)

    def compute_output_spec(
        self,
        inputs: Tensor,
        training: bool = False,
        update_range: bool = True,
        beside: Sequence[Tensor] = (),
        arithmetic: str | None = None,
        unit: Tensor | None = None,
        return_scale: bool = False,
    ) -> keras.KerasTensor:
        if return_scale:
            return keras.KerasTensor(self.range_shape, "float32")
        return keras.KerasTensor(inputs.shape, inputs.dtype)

    def call(
        self,
        inputs: Tensor,
        training: bool = False,
        update_range: bool = True,
        beside: Sequence[Tensor] = (),
        arithmetic: str | None = None,
        unit: Tensor | None = None,
        return_scale: bool = False,
    ) -> Tensor:
        if return_scale:
            return self.scale()
        view = ops.cast(inputs, "float32")
        if self.kind == "depthwise":
            view = ops.reshape(view, self._view(inputs.shape))
        if self.observing and update_range:
            self._observed += map(self._measure, (view, *beside))
        if self.observing or self.passing:
            return inputs
        if arithmetic:
            scale = self.scale()
            view = integer_rounding.moved(
                view,
                arithmetic,
                scale,
                self._zero(),
                scale if unit is None else unit,
            )
        moves = bool(training and update_range and self.trainable)
        if moves and beside:
            ends = [f(x) for x in (view, *beside) for f in (ops.min, ops.max)]
            self._quantize(ops.stack(ends), training=True)
            moves = False
        outputs = self._quantize(view, training=moves)
        if self.kind == "depthwise":
            outputs = ops.reshape(outputs, inputs.shape)
        return ops.cast(outputs, inputs.dtype)

    def _quantize(self, inputs: Tensor, training: bool) -> Tensor:
        return self.quantizer(
            inputs,
            training=training,
            weights={key: v.value for key, v in self._ranges.items()},
        )

    def _zero(self) -> Tensor:
        """Return the signed integer that stands for zero."""
        low = self._ranges["min_var"] if self._ranges else self.minimum
        scale = self.scale()
        step = ops.where(scale > 0, scale, 1.0)
        return ops.clip(ops.floor(0.5 - low / step), 0, 255) - 128

    def _measure(self, inputs: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return the range that one tensor asks for; it contains zero."""
        axes = tuple(range(len(inputs.shape) - self._by_channel))
        low = ops.convert_to_numpy(ops.min(inputs, axis=axes))
        high = ops.convert_to_numpy(ops.max(inputs, axis=axes))
        if self.kind in ("input", "tensor"):
            return np.minimum(low, 0.0), np.maximum(high, 0.0)
        bound = np.maximum(-low, high)
        return -bound, bound

    def set_observed_range(self) -> None:
        """Set the range to the union of those observed, and forget them.

        Called after `observing` was true for some eager calls.
        """
        if self._ranges and self._observed:
            lows, highs = zip(*self._observed, strict=True)
            self._ranges["min_var"].assign(np.min(lows, axis=0))
            self._ranges["max_var"].assign(np.max(highs, axis=0))
            self._widen_narrow_range()
        self._observed.clear()

    def _widen_narrow_range(self) -> None:
        """Widen a range that the converter would widen, zero in its place."""
        low, high = self._ranges["min_var"], self._ranges["max_var"]
        width = ops.convert_to_numpy(high - low)
        least = NARROWEST.get(self.kind, NARROWEST_KERNEL)
        narrow = (width > 0) & (width < least)
        if narrow.any():
            factor = np.where(narrow, least / np.where(narrow, width, 1.0), 1.0)
            low.assign(low * factor)
            high.assign(high * factor)

    def widen_empty_range(self) -> None:
        """Give a range of zero alone, of what is dead or pruned, a width.

        LiteRT's converter would divide by it and leave floats behind. A range
        that became too narrow in training is widened, too.

        Raises:
            ValueError: the range is infinite, or so wide that the converter
                would end the process.
        """
        if self._ranges:
            low, high = self._ranges["min_var"], self._ranges["max_var"]
            width = np.max(ops.convert_to_numpy(high - low), initial=0.0)
            if not width <= WIDEST_RANGE:
                raise ValueError(
                    f"The range of {self.name} is {width:.3g} wide, which no "
                    "eight bits can hold: the weights or the data of the model "
                    "are infinite, NaN or far too large."
                )
            empty = ops.convert_to_numpy(high - low) == 0
            if empty.any():
                high.assign(high + LEAST_RANGE * empty)
                if self.kind not in ("input", "tensor"):
                    low.assign(low - LEAST_RANGE * empty)
            self._widen_narrow_range()

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kind": self.kind,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "output_name": self.output_name,
        }


class _WeightAdapter:
    """What a TFMOT quantizer takes for a tf_keras layer."""

    def __init__(self, layer: keras.layers.Layer) -> None:
        self.layer = layer

    def add_weight(
        self,
        name: str,
        *,
        shape: int | tuple[int, ...] | None = None,
        initializer: Any = None,
        trainable: bool,
    ) -> keras.Variable:
        shape = (shape,) if isinstance(shape, int) else tuple(shape or ())
        return self.layer.add_weight(
            name=name,
            shape=shape,
            initializer=keras.initializers.Constant(initializer.value),
            trainable=trainable,
            dtype="float32",
            aggregation="mean",  # replicas agree on the range
        )

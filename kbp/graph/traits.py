"""What pruning, quantization and loading must know of a class of layers.

A class of layers has one row, its `LayerTraits`. Without a row it is left
alone where that is right, and refused by name where it is not.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import keras

from kbp._utils.arguments import check_one_of
from kbp.graph.nodes import Node
from kbp.layers.transforms.dtm import GRANULARITIES

KERNEL_QUANTIZERS = ("kernel", "channel", "depthwise")
ROUNDINGS = (
    *("computed", "multiplied", "rectified", "mean", "copied", "averaged"),
    *("interpolated", "joined", "indices", "compared", "float"),
)
BATCH_NORMS = ("converter", "lowering")
Kind = TypeVar("Kind", bound="type[keras.Operation] | str")


@dataclass(frozen=True, kw_only=True)
class LayerTraits:
    """What holds of all layers of a class, or of an operation.

    | rounding         | LiteRT's integer result                              |
    | ---------------- | ---------------------------------------------------- |
    | `"computed"`     | has new values, rounded once to a range of their own |
    | `"multiplied"`   | the same of a product of two tensors, rounded twice  |
    | `"rectified"`    | the same of a LeakyReLU, with slopes of a 256th      |
    | `"mean"`         | the same of a mean, whose halves go to even integers |
    | `"copied"`       | has the input's values, so its scale                 |
    | `"averaged"`     | has means of the input's values, in its scale;       |
    |                  | halves are rounded away from the integer zero        |
    | `"interpolated"` | has new values in the input's scale; halves go up    |
    | `"joined"`       | has values of all inputs, which it gives one scale   |
    | `"indices"`      | is of integers, which no range is of: where, not how |
    |                  | large, a value is                                    |
    | `"compared"`     | is computed in float, from or to integers or truths: |
    |                  | LiteRT's integer comparisons see 256ths of one alone |
    | `"float"`        | is none: the layer takes or gives the data's units   |

    Args:
        kernel: attribute that holds the table of weights. A bias, if there is
            one, is the attribute `bias`, and an activation `activation`.
        input_axis: the kernel's axis of the channels it reads.
        output_axis: the kernel's axis of the channels it gives; the same axis
            for a depthwise kernel.
        size_argument: the constructor's argument that counts the channels
            given.
        kernel_quantizer: kind of the kernel's `FakeQuantize`, if the kernel is
            rounded: `"kernel"`, one range; `"channel"`, one of each output
            channel; `"depthwise"`, one of each of the last two axes.
        converter_rounds: whether LiteRT's converter rounds the kernel by
            itself, as its quantizer does, and takes no range of it.
        prunable: what masks may take: `"element"`, single weights of the
            kernel; `"channel"`, the channels it gives.
        rounding: how the result is rounded, see the table; `None` if no 8-bit
            rule covers it.
        training_only: whether it does nothing at inference, so that exported
            files are without it.
        fixed_range: the range that LiteRT demands of the result, if it has one
            whatever the data are.
        whole_range: whether what goes into the layer, and comes out of it, is
            rounded to the range of all values seen, where a moving average
            would cut off the largest.
        open_range: whether LiteRT's converter can know no range of the result
            where the layer stays in float.
        float_by_one_input: whether one float input keeps all of the layer in
            float.
        batch_norm: who folds a BatchNormalization behind the layer into it:
            `"converter"`, LiteRT's, which has a range for each channel;
            `"lowering"`, kbp, before the ranges are measured; `None`: nobody.
            The layer's constructor takes `use_bias` then.
        fuses_relu: whether LiteRT computes a ReLU behind the layer with it.
        activation: the function of `keras.activations` that it computes.
        homogeneous: whether a positive factor of a channel passes through.
        equalizable: whether a factor of a channel may be moved out of the
            kernel, into that of the next layer.
        rounds_inputs: whether it rounds what it reads by itself, as it does
            what it computes.
        reads_indices: whether the inputs are integers, which have no range.
        chooses: whether the first input is truths, which say from which of the
            others a value is.
        channels: how channels pass: the name of a rule in
            `kbp/sparsity/channels/rules`, or a function like them of one input.
        safe: whether a file may ask for the layer to be made: making it runs
            no code of the file's and opens nothing. The classes that kbp
            registers with Keras always are.
        problem: from a use to what a person has to change before LiteRT can
            compute it in integers, `None` if there is nothing.
        by_configuration: from a layer to those of its traits that depend on
            how it is configured.

    Raises:
        ValueError: a word is none of those above, or traits of a kernel are
            given without a `kernel`.

    Example:
    >>> import kbp
    >>> traits = kbp.graph.LayerTraits(
    ...     kernel="kernel", prunable=("element",), kernel_quantizer="channel"
    ... )
    >>> traits.is_depthwise
    False
    """

    kernel: str | None = None
    input_axis: int = -2
    output_axis: int = -1
    size_argument: str | None = None
    kernel_quantizer: str | None = None
    converter_rounds: bool = False
    prunable: tuple[str, ...] = ()
    rounding: str | None = None
    training_only: bool = False
    fixed_range: tuple[float, float] | None = None
    whole_range: bool = False
    open_range: bool = False
    float_by_one_input: bool = False
    batch_norm: str | None = None
    fuses_relu: bool = False
    activation: Callable[..., Any] | None = None
    homogeneous: bool = False
    equalizable: bool = False
    rounds_inputs: bool = False
    reads_indices: bool = False
    chooses: bool = False
    channels: str | Callable[..., Any] | None = None
    safe: bool = False
    problem: Callable[[Node], str | None] | None = None
    by_configuration: Callable[[keras.Operation], Mapping[str, Any]] | None = (
        None
    )

    def __post_init__(self) -> None:
        for name, known in (
            ("kernel_quantizer", KERNEL_QUANTIZERS),
            ("rounding", ROUNDINGS),
            ("batch_norm", BATCH_NORMS),
        ):
            if getattr(self, name) is not None:
                check_one_of(known, **{name: getattr(self, name)})
        for granularity in self.prunable:
            check_one_of(GRANULARITIES, prunable=granularity)
        for name in ("size_argument", "kernel_quantizer", "prunable"):
            if getattr(self, name) and self.kernel is None:
                raise ValueError(
                    f"Argument `kernel` must name the weights that `{name}` "
                    f"is about. Received: {name}={getattr(self, name)!r}"
                )

    @property
    def is_depthwise(self) -> bool:
        """Whether each channel that is read gives channels of its own."""
        return self.input_axis == self.output_axis

    @property
    def is_transposed(self) -> bool:
        """Whether each input position meets the whole kernel."""
        return self.input_axis == -1


UNKNOWN = LayerTraits()
_ROWS: dict[type | str, LayerTraits] = {}


def register_layer_traits(traits: LayerTraits) -> Callable[[Kind], Kind]:
    """Give a class of layers, or an operation of `keras.ops`, its traits.

    The traits are those of the class itself: a subclass may compute something
    else, and registers its own. Layers that are loaded from files are found by
    the name that they have with Keras, so they also need
    `keras.saving.register_keras_serializable`.

    Args:
        traits: the row.

    Returns:
        A decorator of the class. An operation is given by the name of its
        class, as in `register_layer_traits(traits)("Sinh")`.

    Raises:
        ValueError: what is decorated is neither, or has traits already.

    Example:
    >>> import keras, kbp
    >>> from kbp.graph import LayerTraits, register_layer_traits
    >>> @register_layer_traits(
    ...     LayerTraits(rounding="copied", channels="elementwise")
    ... )
    ... class Watch(keras.layers.Layer):
    ...     def call(self, inputs):
    ...         return inputs
    >>> kbp.graph.traits_of(Watch()).rounding
    'copied'
    """
    if not isinstance(traits, LayerTraits):
        raise ValueError(
            "Argument `traits` must be a LayerTraits. "
            f"Received: traits={traits!r}"
        )

    def register(kind: Kind) -> Kind:
        is_class = isinstance(kind, type) and issubclass(kind, keras.Operation)
        if not is_class and not isinstance(kind, str):
            raise ValueError(
                "Traits are of a class of layers or the name of an "
                f"operation's class. Received: {kind!r}"
            )
        if kind in _ROWS:
            raise ValueError(f"{kind!r} has layer traits already.")
        _ROWS[kind] = traits
        return kind

    return register


def traits_of(operation: keras.Operation) -> LayerTraits:
    """Return the traits of a layer or operation; `UNKNOWN` if it has none.

    A layer is looked up by its exact class, an operation of `keras.ops` by the
    name of its class.

    Args:
        operation: the layer or operation.

    Returns:
        Its row, with what depends on how it is configured.

    Example:
    >>> import keras, kbp
    >>> kbp.graph.traits_of(keras.layers.Dense(3)).size_argument
    'units'
    >>> class MyDense(keras.layers.Dense): ...
    >>> kbp.graph.traits_of(MyDense(3)) is kbp.graph.UNKNOWN
    True
    """
    traits = traits_of_class(type(operation))
    if traits.by_configuration is None:
        return traits
    return dataclasses.replace(traits, **traits.by_configuration(operation))


def traits_of_class(kind: type) -> LayerTraits:
    """Return what holds of a class, however its layers are configured.

    Args:
        kind: a class of layers or operations.

    Returns:
        Its row, `UNKNOWN` if it has none.

    Example:
    >>> import keras, kbp
    >>> kbp.graph.traits_of_class(keras.layers.Embedding).reads_indices
    True
    """
    is_layer = issubclass(kind, keras.layers.Layer)
    return _ROWS.get(kind if is_layer else kind.__name__, UNKNOWN)


def unregistered(operations: Iterable[keras.Operation]) -> list[str]:
    """Return names of layers with kernels whose class has no traits.

    Args:
        operations: layers and operations of a model.

    Example:
    >>> import keras, kbp
    >>> class MyDense(keras.layers.Dense): ...
    >>> layer = MyDense(3, name="mine")
    >>> layer.build((None, 2))
    >>> kbp.graph.unregistered([layer, keras.layers.ReLU()])
    ['mine']
    """
    return sorted(
        {
            operation.name
            for operation in operations
            if traits_of_class(type(operation)) is UNKNOWN
            and any(
                len(weight.shape) > 1
                for weight in getattr(operation, "weights", ())
            )
        }
    )

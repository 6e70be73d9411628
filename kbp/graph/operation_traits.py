"""The traits of operations of `keras.ops`, by the names of their classes."""

import keras

from kbp.graph import integer_limits as limits
from kbp.graph.keras_traits import enlargement
from kbp.graph.traits import LayerTraits

activations = keras.activations

# Functions of single values.
ELEMENTWISE = (
    *("celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid"),
    *("hard_silu", "hard_tanh", "leaky_relu", "linear", "log_sigmoid", "mish"),
    *("relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink", "softplus"),
    *("softsign", "sparse_plus", "sparse_sigmoid", "squareplus", "tanh"),
    *("tanh_shrink", "threshold"),
)
_COMPUTED_ACTIVATIONS = ("gelu", "leaky_relu")
_AS_LAYERS = (
    *("hard_sigmoid", "hard_silu", "relu", "relu6", "sigmoid", "silu", "tanh"),
)

ROWS: dict[str, LayerTraits] = {
    **{
        name.title().replace("_", ""): LayerTraits(
            rounding="computed" if name in _COMPUTED_ACTIVATIONS else None,
            activation=(
                getattr(activations, name) if name in _AS_LAYERS else None
            ),
            channels="elementwise",
        )
        for name in ELEMENTWISE
    },
    **dict.fromkeys(
        ("Abs", "Clip", "Identity", "Negative"),
        LayerTraits(channels="elementwise"),
    ),
    **dict.fromkeys(
        ("Sqrt", "Square"),
        LayerTraits(channels="elementwise", safe=True),
    ),
    "Cast": LayerTraits(
        rounding="compared",
        open_range=True,
        channels="elementwise",
        safe=True,
    ),
    **dict.fromkeys(
        ("Equal", "Greater", "GreaterEqual", "Less", "LessEqual", "NotEqual"),
        LayerTraits(rounding="compared"),
    ),
    **dict.fromkeys(("Argmax", "Argmin"), LayerTraits(rounding="indices")),
    "Where": LayerTraits(
        rounding="joined", chooses=True, problem=limits.of_choice
    ),
    **dict.fromkeys(
        ("Absolute", "Exp"),
        LayerTraits(rounding="computed", channels="elementwise"),
    ),
    "ConvertToTensor": LayerTraits(rounding="copied", channels="elementwise"),
    **dict.fromkeys(
        ("Add", "Subtract"),
        LayerTraits(
            rounding="computed",
            fuses_relu=True,
            problem=limits.of_arithmetic,
            channels="joined",
            safe=True,
        ),
    ),
    "Multiply": LayerTraits(
        rounding="computed",
        fuses_relu=True,
        problem=limits.of_product,
        channels="product",
        safe=True,
    ),
    **dict.fromkeys(
        ("Divide", "TrueDivide"),
        LayerTraits(rounding="computed", problem=limits.of_division, safe=True),
    ),
    "Maximum": LayerTraits(
        rounding="joined",
        problem=limits.of_arithmetic,
        channels="joined",
        safe=True,
    ),
    "Minimum": LayerTraits(
        rounding="joined", problem=limits.of_arithmetic, channels="joined"
    ),
    "Matmul": LayerTraits(
        rounding="multiplied",
        open_range=True,
        float_by_one_input=True,
        channels="matmul",
        safe=True,
    ),
    "Mean": LayerTraits(rounding="mean", channels="mean", safe=True),
    "Softmax": LayerTraits(channels="softmax"),
    "Concatenate": LayerTraits(
        rounding="joined", channels="concatenate", safe=True
    ),
    "Reshape": LayerTraits(rounding="copied", channels="reshape", safe=True),
    "Transpose": LayerTraits(
        rounding="copied", channels="transpose", safe=True
    ),
    **{
        name: LayerTraits(rounding="copied", channels=channels, safe=True)
        for name, channels in (
            ("DepthToSpace", "depth_to_space"),
            ("ExpandDims", "reshape"),
            ("GetItem", "slice"),
            ("SpaceToDepth", "space_to_depth"),
            ("Squeeze", "reshape"),
        )
    },
    **{
        name: LayerTraits(rounding="copied", channels=channels)
        for name, channels in (
            ("Amax", "maximum"),
            ("Amin", "minimum"),
            ("Max", "maximum"),
            ("Min", "minimum"),
            ("Split", "split"),
            ("Take", "take"),
        )
    },
    **dict.fromkeys(
        ("Moveaxis", "Swapaxes", "TopK"), LayerTraits(rounding="copied")
    ),
    "Flip": LayerTraits(channels="flip"),
    "OneHot": LayerTraits(reads_indices=True),
    "Stack": LayerTraits(rounding="joined", channels="stack"),
    "Sum": LayerTraits(channels="sum"),
    "Resize": LayerTraits(
        by_configuration=enlargement,
        problem=limits.of_resize,
        channels="spatial",
        safe=True,
    ),
    "Var": LayerTraits(safe=True),
}

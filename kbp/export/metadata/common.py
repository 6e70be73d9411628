"""What inputs and outputs of many models are."""

from collections.abc import Sequence

from kbp.export.metadata.description import TensorInfo


def pixels(shape: Sequence[int]) -> TensorInfo:
    """Return what there is to say of images as a model's input.

    Args:
        shape: of one, (height, width, channels) or (rows, pixels).
    """
    is_image = len(shape) == 3 and shape[2] in (1, 3)
    axes = ("height", "width", "channels")
    return TensorInfo(
        "image",
        "image" if is_image else "features",
        "An image from 0 (black) to 1 (white).",
        axes=axes if len(shape) == 3 else ("rows", "pixels"),
        mean=(0.0,),
        std=(255.0,),
        lowest=(0.0,),
        highest=(1.0,),
    )


def logits(labels: Sequence[str], *axes: str) -> TensorInfo:
    """Return what there is to say of classes as a model's output.

    Args:
        labels: names of the classes.
        *axes: names of the axes before that of the classes.
    """
    return TensorInfo(
        "logits",
        description="A score of each class; softmax gives probabilities.",
        axes=(*axes, "classes"),
        unit="logit",
        labels=tuple(labels),
    )

"""Sizes of inputs that a model leaves open, and a .tflite file does not."""

from collections.abc import Mapping, Sequence

import keras

Shape = tuple[int, ...]


def fixed_shapes(
    model: keras.Model,
    given: Sequence[int] | Mapping[str, Sequence[int]] | None,
) -> dict[str, Shape]:
    """Return the shape of an example of each input, by its name.

    Args:
        model: functional, whose inputs have the names they are given by.
        given: sizes of the one input, or of inputs by their names.

    Raises:
        ValueError: a size is open and not given, or another one is.
    """
    names = [x.name for x in model.inputs]
    if given is None or isinstance(given, Mapping):
        by_name = dict(given or {})
    elif len(names) == 1:
        by_name = {names[0]: given}
    else:
        raise ValueError(
            f"Model {model.name} has the inputs {', '.join(names)}: argument "
            "`input_shape` must be a dictionary by these names. Received: "
            f"input_shape={given!r}"
        )
    others = [name for name in by_name if name not in names]
    if others:
        raise ValueError(
            f"Argument `input_shape` names {others[0]!r}, which is no input of "
            f"model {model.name}; it has {', '.join(names)}."
        )
    return {x.name: _fixed(model, x, by_name.get(x.name)) for x in model.inputs}


def _fixed(
    model: keras.Model, x: keras.KerasTensor, given: Sequence[int] | None
) -> Shape:
    own = tuple(x.shape[1:])
    if given is None:
        if None in own:
            raise ValueError(
                f"Input {x.name} of model {model.name} has no fixed size, "
                f"which a .tflite file needs: {own}. Give the sizes of an "
                "example, such as input_shape="
                f"{tuple(size or 64 for size in own)}."
            )
        return own
    sizes = tuple(given) if isinstance(given, Sequence) else (given,)
    fits = len(sizes) == len(own) and all(
        type(size) is int and size > 0 and wanted in (None, size)
        for size, wanted in zip(sizes, own, strict=True)
    )
    if not fits:
        raise ValueError(
            f"Argument `input_shape` must fit input {x.name} of model "
            f"{model.name}, which is of {own} without the batch. Received: "
            f"{given!r}"
        )
    return sizes

"""Give the kernels of a model trainable masks."""

import difflib
from collections.abc import Sequence

import keras

from kbp import graph
from kbp.layers import DTM, TransformedLayer

PRUNABLE = (keras.layers.Dense, keras.layers.Conv2D)


def apply_dtm(
    model: keras.Model,
    *,
    skip: Sequence[str] = (),
    protect_ends: bool = True,
    **dtm,
) -> keras.Model:
    """Put a `DTM` on every prunable kernel of a model.

    Prunable are Dense and Conv2D layers, also those inside kbp's composite
    layers and nested models, which are unrolled.

    Args:
        model: a functional or built Sequential model; left as it is.
        skip: names of layers to leave dense.
        protect_ends: leave the kernels that read the model's input or give
            its output dense; they are small and the most sensitive.
        **dtm: arguments of `kbp.layers.DTM`.

    Returns:
        A new, uncompiled functional model with a copy of the weights. Its
        masks start as all ones.

    Raises:
        ValueError: a name in `skip` is no layer of the model, the model's
            graph is not known, or it has nothing to prune.

    Example:
    >>> import kbp
    >>> model = kbp.models.PyramidBPNet((16, 16, 1), 10, width=16)
    >>> pruned = kbp.sparsity.apply_dtm(model, temperature=30.0)
    >>> [layer.name for layer in kbp.sparsity.masked_layers(pruned)][:2]
    ['scale0_dense', 'fusion_projection_1']
    """
    flat = graph.flatten(model)
    uses = graph.calls(flat)
    names = [use.operation.name for use in uses]
    for name in skip:
        if name not in names:
            nearest = difflib.get_close_matches(name, names, 3, 0)
            raise ValueError(
                f"Argument `skip` names no layer of model {model.name}. "
                f"Received: {name!r}; nearest: {', '.join(nearest)}"
            )
    dense = {*skip, *(_ends(uses) if protect_ends else ())}
    if not any(
        type(use.operation) in PRUNABLE and use.operation.name not in dense
        for use in uses
    ):
        raise ValueError(
            f"Model {model.name} has nothing to prune: no Dense or Conv2D "
            "layer is left outside `skip` and (with `protect_ends`) between "
            "its first and its last kernel."
        )

    def masked(layer):
        new = graph.copy(layer)
        if type(layer) in PRUNABLE and layer.name not in dense:
            return TransformedLayer(new, [DTM(**dtm)])
        return new

    return graph.replace_layers(flat, masked)


def _ends(uses):
    """Name the kernels that read the input or give the output."""
    names = set()
    for edge, step in (("producers", "consumers"), ("consumers", "producers")):
        todo = [use for use in uses if not getattr(use, edge)]
        seen = set()
        while todo:
            use = todo.pop()
            if use in seen:
                continue
            seen.add(use)
            if isinstance(use.operation, PRUNABLE):
                names.add(use.operation.name)
            else:
                todo.extend(getattr(use, step))
    return names

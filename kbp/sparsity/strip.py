"""Make decided masks permanent."""

from collections.abc import Callable
from typing import Any

import keras

from kbp import graph
from kbp.layers import (
    DTM,
    ChannelScale,
    FixedMask,
    KernelTransform,
    TransformedLayer,
)
from kbp.sparsity.channels.places import is_foldable
from kbp.sparsity.masks import check_unrounded, hard_mask, masked_layers


def strip(model: keras.Model) -> keras.Model:
    """Fold hard masks into the kernels and take the masks off.

    Args:
        model: a model from `apply_dtm`, or with `DTMDense` and `DTMConv2D`.

    Returns:
        A new, uncompiled model of plain Keras layers, with zeros where the
        masks were, and the same outputs at inference.

    Raises:
        ValueError: the model's graph is not known, or it is quantization-aware.

    Example:
    >>> import kbp
    >>> model = kbp.models.PyramidBPNet((16, 16, 1), 10, width=16)
    >>> plain = kbp.sparsity.strip(kbp.sparsity.apply_dtm(model))
    >>> plain.count_params() == model.count_params()
    True
    """
    model = graph.flatten(model)
    # In this order: a factor on a kernel would change what its mask decides.
    plain = _fold(model, lambda transform: None)
    while gates := _foldable(plain):
        plain = _without(gates, plain)
    return plain


def fix_masks(model: keras.Model) -> keras.Model:
    """Replace each `DTM` by a `FixedMask` of what it has decided.

    Args:
        model: a model from `apply_dtm`, or with `DTMDense` and `DTMConv2D`.

    Returns:
        A new, uncompiled model with the same outputs at inference. Training
        it changes no mask: a pruned weight stays exactly zero.

    Raises:
        ValueError: the model's graph is not known, or it is quantization-aware.

    Example:
    >>> import kbp
    >>> model = kbp.models.PyramidBPNet((16, 16, 1), 10, width=16)
    >>> fixed = kbp.sparsity.fix_masks(kbp.sparsity.apply_dtm(model))
    >>> layer = next(kbp.sparsity.masked_layers(fixed))
    >>> type(layer.transforms[0]).__name__
    'FixedMask'
    """
    return _fold(graph.flatten(model), lambda transform: FixedMask())


def _fold(
    model: keras.Model,
    replace_mask: Callable[[KernelTransform], FixedMask | None],
) -> keras.Model:
    """Multiply kernels by their masks; replace or (`None`) drop the masks."""
    graph.check_untied(model)
    check_unrounded(model)
    masked = set(masked_layers(model))
    folds = []

    def folded(layer: keras.Operation) -> keras.Operation:
        wrappers = graph.wrappers(layer)
        if masked.isdisjoint(wrappers):
            return graph.clone_layer(layer)
        inner = new = graph.clone_layer(layer.innermost, name=layer.name)
        for old in wrappers:
            transforms = [
                replace_mask(t)
                if isinstance(t, DTM | FixedMask)
                else graph.clone_layer(t)
                for t in old.transforms
            ]
            kept = [t for t in transforms if t is not None]
            if kept:
                new = TransformedLayer(new, kept, kernel=old.kernel_attribute)
            folds.append((old, inner, kept))
        return new

    new_model = graph.replace_layers(model, folded)
    for old, inner, transforms in folds:
        mask = hard_mask(old)
        kernel = getattr(inner, old.kernel_attribute)
        kernel.assign(graph.values_of(old.kernel) * mask)
        for transform in transforms:
            if isinstance(transform, FixedMask):
                transform.mask.assign(mask)
    return new_model


def _foldable(model: keras.Model) -> dict[str, dict[str, int]]:
    """Return the gates to fold: for each, by layers, its arrangement there.

    One that cannot be folded at each of its uses stays, with zeros.
    """
    found: dict[str, dict[str, int]] = {}
    if not any(isinstance(x, ChannelScale) for x in model.layers):
        return found
    never = set()
    for node in graph.nodes(model):
        if not isinstance(node.operation, ChannelScale):
            continue
        name, before = node.operation.name, node.producers[:1]
        if not before or not is_foldable(before[0]) or not before[0].successor:
            never.add(name)
            continue
        number = node.keywords.get("arrangement", 0)
        found.setdefault(name, {})[before[0].operation.name] = number
    return {name: row for name, row in found.items() if name not in never}


def _without(
    gates: dict[str, dict[str, int]], model: keras.Model
) -> keras.Model:
    """Fold `ChannelScale` layers into the layers before them."""

    def replacement(layer: keras.Operation) -> keras.Operation:
        return layer if layer.name in gates else graph.clone_layer(layer)

    def call(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        return args[0] if layer.name in gates else layer(*args, **kwargs)

    plain = graph.replace_layers(model, replacement, call=call)
    for gate, before in gates.items():
        scale = model.get_layer(gate)
        factors = graph.values_of(scale.kernel)
        for name, number in before.items():
            layer = graph.unwrapped(plain.get_layer(name))
            graph.scale_outputs(layer, scale.spread(factors, number))
            graph.unscale(layer)
    return plain

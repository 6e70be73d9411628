"""Make decided masks permanent."""

from collections.abc import Callable

import keras

from kbp import graph
from kbp.layers import DTM, ChannelScale, FixedMask, TransformedLayer
from kbp.sparsity.channels.places import is_foldable
from kbp.sparsity.masks import hard_mask, masked_layers


def strip(model: keras.Model) -> keras.Model:
    """Fold hard masks into the kernels and take the masks off.

    Args:
        model: a model from `apply_dtm`, or with `DTMDense` and `DTMConv2D`.

    Returns:
        A new, uncompiled model of plain Keras layers, with zeros where the
        masks were, and the same outputs at inference.

    Example:
    >>> import kbp
    >>> model = kbp.models.PyramidBPNet((16, 16, 1), 10, width=16)
    >>> plain = kbp.sparsity.strip(kbp.sparsity.apply_dtm(model))
    >>> plain.count_params() == model.count_params()
    True
    """
    model = graph.flatten(model)
    # One that cannot be folded at each of its uses stays, with zeros.
    can_go: dict[str, bool] = {}
    for call in graph.nodes(model):
        if isinstance(call.operation, ChannelScale):
            name = call.operation.name
            can_go[name] = can_go.get(name, True) and _follows_foldable(call)
    gates = {name for name, can in can_go.items() if can}
    # In this order: a factor on a kernel would change what its mask decides.
    return _without(gates, _fold(model, lambda transform: None))


def fix_masks(model: keras.Model) -> keras.Model:
    """Replace each `DTM` by a `FixedMask` of what it has decided.

    Args:
        model: a model from `apply_dtm`, or with `DTMDense` and `DTMConv2D`.

    Returns:
        A new, uncompiled model with the same outputs at inference. Training
        it changes no mask: a pruned weight stays exactly zero.
    """
    return _fold(graph.flatten(model), lambda transform: FixedMask())


def _fold(model: keras.Model, replace_mask: Callable) -> keras.Model:
    """Multiply kernels by their masks; replace or (`None`) drop the masks."""
    masked = set(masked_layers(model))
    pairs = []

    def folded(layer):
        if layer not in masked:
            return graph.clone_layer(layer)
        kept = [
            replace_mask(t)
            if isinstance(t, DTM | FixedMask)
            else graph.clone_layer(t)
            for t in layer.transforms
        ]
        kept = [t for t in kept if t is not None]
        new = graph.clone_layer(layer.layer, name=layer.name)
        if kept:
            new = TransformedLayer(new, kept, kernel=layer.kernel_attribute)
        pairs.append((layer, new))
        return new

    new_model = graph.replace_layers(model, folded)
    for old, new in pairs:
        mask = hard_mask(old)
        kernel = getattr(graph.unwrapped(new), old.kernel_attribute)
        kernel.assign(graph.values_of(old.kernel) * mask)
        for transform in graph.transforms(new):
            if isinstance(transform, FixedMask):
                transform.mask.assign(mask)
    return new_model


def _follows_foldable(call):
    before = call.producers[0] if call.producers else None
    return bool(before and is_foldable(before) and before.successor)


def _without(gates: set[str], model: keras.Model) -> keras.Model:
    """Fold `ChannelScale` layers into the layers before them."""
    if not gates:
        return model
    before = {
        call.producers[0].operation.name: call.operation
        for call in graph.nodes(model)
        if call.operation.name in gates
    }

    def replacement(layer):
        return layer if layer.name in gates else graph.clone_layer(layer)

    def call(layer, *args, **kwargs):
        return args[0] if layer.name in gates else layer(*args, **kwargs)

    plain = graph.replace_layers(model, replacement, call=call)
    for name, gate in before.items():
        factors = graph.values_of(gate.kernel)
        layer = graph.unwrapped(plain.get_layer(name))
        graph.scale_outputs(layer, factors.repeat(gate.repeats))
    return plain

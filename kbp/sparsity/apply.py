"""Give a model trainable masks."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import keras

from kbp import graph
from kbp._utils.arguments import check_one_of, check_penalty
from kbp.errors import UserError, nearest
from kbp.layers import DTM, FixedMask, TransformedLayer
from kbp.layers.transforms.dtm import GRANULARITIES
from kbp.sparsity.channels.cost import multiply_adds
from kbp.sparsity.channels.ends import ends_of, is_prunable
from kbp.sparsity.gates import add_gates
from kbp.sparsity.masks import check_unrounded
from kbp.sparsity.unmasked import in_words, left_out

# Of a layer alone; what a network takes is measured as a whole.
_COSTS = ("parameters", "multiply_adds")


def apply_dtm(
    model: keras.Model,
    *,
    granularity: str = "element",
    skip: Sequence[str] = (),
    protect_ends: bool = True,
    penalty: float = 0.0,
    cost: str = "parameters",
    **dtm: Any,
) -> keras.Model:
    """Put a `DTM` on every prunable kernel, or group of channels, of a model.

    Prunable are Dense, EinsumDense, Conv1D, Conv2D, DepthwiseConv2D and
    Conv2DTranspose layers, and those whose `kbp.graph.LayerTraits` say so; also
    inside kbp's composite layers and nested models, which are unrolled.

    Args:
        model: a functional or built Sequential model; left as it is.
        granularity: `"element"`: a mask on each kernel. `"channel"`: a mask on
            each group of channels that can only go together, on a
            `ChannelScale` behind the layer and its BatchNormalization, where
            nothing undoes it; `shrink` takes what it prunes out of the model.
        skip: names of layers to leave dense.
        protect_ends: leave the kernels that read the model's input or give
            its output dense; they are small and the most sensitive.
        penalty: what an all-dense model adds to the loss, more than one whose
            masks are all zero. For thresholds that are trained; begin with a
            `threshold` near the smallest scores then.
        cost: what the penalty counts: `"parameters"` that are kept, or
            `"multiply_adds"`, so that expensive layers are pruned first.
        **dtm: arguments of `kbp.layers.DTM`.

    Returns:
        A new, uncompiled functional model with a copy of the weights. Masks
        that it has already, as of `DTMDense`, stay what they are; the new
        masks start as all ones. Before it trains on without a `DTMSchedule`,
        `fix_masks` makes what they have decided permanent.

    Raises:
        ValueError: an argument is out of range, a name in `skip` is no layer of
            the model, the model's graph is not known or is quantization-aware,
            two layers share a weight, or it has nothing to prune (the message
            says which layers keep all they have, and why).

    Example:
    >>> import kbp
    >>> model = kbp.models.PyramidBPNet((16, 16, 1), 10, width=16)
    >>> pruned = kbp.sparsity.apply_dtm(model, temperature=30.0)
    >>> [layer.name for layer in kbp.sparsity.masked_layers(pruned)][:2]
    ['scale0_dense', 'fusion_projection_1']
    """
    check_one_of(GRANULARITIES, granularity=granularity)
    check_one_of(_COSTS, cost=cost)
    check_penalty(penalty=penalty)
    if isinstance(skip, str):
        raise ValueError(
            f"Argument `skip` must be a list of names. Received: skip={skip!r}"
        )
    graph.check_untied(model)
    flat = graph.flatten(model)
    check_unrounded(flat)
    nodes = graph.nodes(flat)
    names = {node.operation.name for node in nodes}
    for name in skip:
        if name not in names:
            raise ValueError(
                f"Argument `skip` names no layer of model {model.name}. "
                f"Received: {name!r}{nearest(name, names)}"
            )
    dense = {*skip, *(ends_of(nodes) if protect_ends else ())}
    masks = _Masks(penalty, cost, dtm)
    if granularity == "channel":
        masked = add_gates(flat, dense, masks.wrap)
    else:
        masked = _mask_kernels(flat, nodes, dense, masks)
    if masked is None:
        between = advice = ""
        if protect_ends:
            between = " and between its first and its last kernel"
            advice = (
                " Add a layer between them, or prune the first and the last as "
                "well, by kbp.sparsity.apply_dtm(model, protect_ends=False)."
            )
        reasons = left_out(
            flat,
            granularity=granularity,
            skip=skip,
            protect_ends=protect_ends,
        )
        what = "channels" if granularity == "channel" else "weights"
        held = f" {in_words(reasons, what)}" if reasons else ""
        raise UserError(
            f"Model {model.name} has nothing to prune: no kernel or group of "
            f"channels is left outside `skip`{between}, without a mask "
            "already, and clear of layers that need all channels."
            f"{held}{advice}{_hint(flat.operations)}"
        )
    masks.share_penalty()
    return masked


class _Masks:
    """Makes the masks of one model."""

    def __init__(
        self, penalty: float, cost: str, arguments: dict[str, Any]
    ) -> None:
        self.penalty, self.cost, self.arguments = penalty, cost, arguments
        self.made: list[tuple[DTM, float, int]] = []

    def wrap(
        self, layer: keras.layers.Layer, uses: list[graph.Node]
    ) -> TransformedLayer:
        """Return a layer, or a gate of these uses' channels, with a mask."""
        inner = graph.unwrapped(layer)
        mask = DTM(**{"dtype": inner.variable_dtype, **self.arguments})
        if self.cost == "multiply_adds":
            cost = sum(map(multiply_adds, uses))
        else:
            operations = {node.operation for node in uses}
            cost = sum(op.count_params() for op in operations)
        self.made.append((mask, cost, len(uses)))
        kernel = graph.traits_of(inner).kernel or "kernel"  # of a gate
        given = graph.transforms_by_kernel(layer)
        # Behind fixed masks, before what bounds the masked kernel's gradient.
        others = given.get(kernel, [])
        fixed = [t for t in others if isinstance(t, FixedMask)]
        rest = [t for t in others if t not in fixed]
        given[kernel] = [*fixed, mask, *rest]
        for attribute, transforms in given.items():
            inner = TransformedLayer(
                inner, transforms, kernel=attribute, name=layer.name
            )
        return inner

    def share_penalty(self) -> None:
        """Give each mask its share of the penalty, at each of its uses."""
        total = math.fsum(cost for _, cost, _ in self.made)
        for mask, cost, uses in self.made:
            mask.penalty = self.penalty * cost / (total * uses)


def _mask_kernels(
    flat: keras.Model,
    nodes: list[graph.Node],
    dense: set[str],
    masks: _Masks,
) -> keras.Model | None:
    """Return the model with a mask on each prunable kernel without one."""
    masked = {
        (wrapper.innermost, wrapper.kernel_attribute)
        for layer in flat.layers
        for wrapper in graph.wrappers(layer)
        if any(isinstance(t, DTM) for t in wrapper.transforms)
    }
    uses: dict[keras.Operation, list[graph.Node]] = {}
    for node in nodes:
        operation = node.operation
        if (
            is_prunable(operation)
            and operation.name not in dense
            and (operation, graph.traits_of(operation).kernel) not in masked
        ):
            uses.setdefault(operation, []).append(node)
    if not uses:
        return None

    def replacement(layer: keras.Operation) -> keras.Operation:
        found = uses.get(graph.unwrapped(layer))
        new = graph.clone_layer(layer)
        return masks.wrap(new, found) if found else new

    return graph.replace_layers(flat, replacement)


def _hint(operations: Iterable[keras.Operation]) -> str:
    """Return what else to do where layers have kernels and no traits."""
    names = graph.unregistered(map(graph.unwrapped, operations))
    if not names:
        return ""
    return (
        f" Register the traits of layer {', '.join(names)} with "
        "kbp.graph.register_layer_traits."
    )

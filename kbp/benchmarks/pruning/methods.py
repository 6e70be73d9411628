"""The methods of the pruning race."""

import bisect
import functools
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np

from kbp import graph, sparsity
from kbp.benchmarks.optimizers.trial import network
from kbp.layers import FixedMask, TransformedLayer
from kbp.quantization import tfmot


@dataclass(frozen=True)
class Method:
    """A way to prune.

    Attributes:
        prune: `prune(training, model) -> model` trains and prunes; the result
            is a plain Keras model.
        structured: whether it removes channels; else it makes zeros.
        ours: whether it is kbp's.
    """

    prune: Callable
    structured: bool = False
    ours: bool = False


def prunable(model) -> list:
    """Return the layers whose kernels may get zeros: all but the two ends."""
    return [layer for layer in model.layers if hasattr(layer, "kernel")][1:-1]


def zeros(model) -> float:
    """Return the share of exact zeros in the kernels that may be pruned."""
    kernels = [graph.values_of(x.kernel) for x in prunable(model)]
    return float(np.mean(np.concatenate([k.ravel() for k in kernels]) == 0))


def dense(training, model):
    """Prune nothing."""
    training.fit(model)
    return model


def dtm(training, model):
    """Prune with kbp's trainable masks."""
    masked = sparsity.apply_dtm(model)
    training.fit(masked, _schedule(training))
    return sparsity.strip(masked)


def tfmot_gradual(training, model):
    """Prune with TFMOT, on a tf_keras twin of the network."""
    package, tf_keras = tfmot.modules()
    pruning = package.sparsity.keras
    tf_keras.backend.clear_session()
    twin = tf_keras_twin(model, training.protocol.width)
    chosen = prunable(twin)
    schedule = pruning.PolynomialDecay(
        0.0,
        training.trial.level,
        *_tfmot_steps(training.protocol),
        power=3,
        frequency=training.protocol.tfmot_frequency,
    )
    masked = tf_keras.models.clone_model(
        twin,
        clone_function=lambda layer: (
            pruning.prune_low_magnitude(layer, schedule)
            if layer in chosen
            else layer
        ),
    )
    training.fit(masked, pruning.UpdatePruningStep(), keras=tf_keras)
    model.set_weights(pruning.strip_pruning(masked).get_weights())
    return model


def tf_keras_twin(model, width):
    """Return the network in tf_keras, with a Keras model's weights."""
    _, tf_keras = tfmot.modules()
    twin = network(width, keras=tf_keras)
    twin.set_weights(model.get_weights())
    return twin


def _tfmot_steps(protocol):
    # TFMOT prunes at `begin + n * frequency`, so it ends at such a step.
    begin, end = (
        round(x * protocol.steps) for x in (protocol.begin, protocol.end)
    )
    frequency = protocol.tfmot_frequency
    return begin, begin + max(1, round((end - begin) / frequency)) * frequency


def one_shot(training, model):
    """Remove the smallest weights of all kernels at once, then train on."""
    cut = training.protocol.cut
    training.fit(model, stop=cut)
    masked = without_smallest(model, training.trial.level)
    training.fit(masked, start=cut)
    return sparsity.strip(masked)


def without_smallest(model: keras.Model, level: float) -> keras.Model:
    """Return a model with masks on the smallest weights of all kernels.

    Args:
        model: not pruned yet.
        level: share of the weights that may get zeros, which do.
    """
    names = [layer.name for layer in prunable(model)]

    def with_mask(layer):
        new = graph.clone_layer(layer)
        if layer.name in names:
            return TransformedLayer(new, [FixedMask()])
        return new

    masked = graph.replace_layers(model, with_mask)
    layers = list(sparsity.masked_layers(masked))
    sizes = [np.abs(graph.values_of(x.kernel)) for x in layers]
    threshold = np.quantile(np.concatenate([x.ravel() for x in sizes]), level)
    for layer, size in zip(layers, sizes, strict=True):
        layer.transforms[0].mask.assign(size > threshold)
    return masked


def dtm_channels(training, model, budget="adaptive"):
    """Remove channels with kbp's trainable masks."""
    masked = sparsity.apply_dtm(
        model, granularity="channel", protect_ends=False
    )
    schedule = _schedule(
        training,
        measure="parameters",
        budget=budget,
        multiple_of=training.protocol.multiple_of,
    )
    training.fit(masked, schedule)
    return sparsity.shrink(masked)


def l1_channels(training, model):
    """Remove the channels of the least L1 norm at once, then train on."""
    protocol = training.protocol
    share = channel_share(model, training.trial.level, protocol.multiple_of)
    training.fit(model, stop=protocol.cut)
    small = without_channels(model, share, protocol.multiple_of)
    training.fit(small, start=protocol.cut)
    return small


METHODS = {
    "dense": Method(dense),
    "DTM": Method(dtm, ours=True),
    "TFMOT": Method(tfmot_gradual),
    "one-shot": Method(one_shot),
    "DTM channels": Method(dtm_channels, structured=True, ours=True),
    "DTM channels, uniform": Method(
        functools.partial(dtm_channels, budget="uniform"),
        structured=True,
        ours=True,
    ),
    "L1 channels": Method(l1_channels, structured=True),
}


def channel_share(model: keras.Model, level: float, multiple_of: int) -> float:
    """Return the least share of channels without which a level is reached.

    Args:
        model: not pruned yet.
        level: share of the model's parameters that is to go.
        multiple_of: what the channels that stay are rounded to.

    Raises:
        ValueError: no share reaches the level.
    """
    widest = max(group[0][0].filters for group in channel_groups(model))
    count = widest // multiple_of
    shares = [n / count for n in range(count)]

    def gone(share):
        small = without_channels(
            keras.models.clone_model(model), share, multiple_of
        )
        return 1 - small.count_params() / model.count_params()

    found = bisect.bisect_left(shares, level, key=gone)
    if found == len(shares):
        raise ValueError(
            f"Level {level:g} cannot be reached where multiples of "
            f"{multiple_of} channels stay."
        )
    return shares[found]


def without_channels(
    model: keras.Model, share: float, multiple_of: int
) -> keras.Model:
    """Return a model without its channels of the least L1 norms.

    Args:
        model: of `network`; its weights are changed.
        share: of each group's channels that is to go.
        multiple_of: what the channels that stay are rounded to.
    """
    for group in channel_groups(model):
        kernels = [graph.values_of(x.kernel) for x, _ in group]
        norms = sum(np.abs(kernel).sum((0, 1, 2)) for kernel in kernels)
        count = norms.size - round(share * norms.size)
        count = max(multiple_of, multiple_of * round(count / multiple_of))
        stays = np.zeros_like(norms)
        stays[np.argsort(-norms)[:count]] = 1
        for layers in group:
            for variable in (v for x in layers for v in x.trainable_variables):
                variable.assign(variable * stays)
    return sparsity.shrink(model)


def channel_groups(model: keras.Model) -> list[list[tuple]]:
    """Return the convolutions whose channels can only go together.

    Args:
        model: of `network`.

    Returns:
        For each group its convolutions, each with its BatchNormalization.
    """
    calls = graph.nodes(model)
    convolutions = [c for c in calls if _is_convolution(c)]
    groups = [{call} for call in convolutions]
    for call in calls:
        if isinstance(call.operation, keras.layers.Add):
            added = _sources(call)
            apart = [group for group in groups if not group & added]
            groups = [*apart, added.union(*(g for g in groups if g & added))]
    return [[_with_norm(call) for call in group] for group in groups]


def _with_norm(call):
    return call.operation, call.successor.operation


def _sources(call):
    """Return the convolutions that a tensor's channels are of."""
    if _is_convolution(call):
        return {call}
    return set().union(*map(_sources, call.producers))


def _is_convolution(call):
    return isinstance(call.operation, keras.layers.Conv2D)


def _schedule(training, **options):
    protocol = training.protocol
    return sparsity.DTMSchedule(
        training.trial.level,
        begin=protocol.begin,
        end=protocol.end,
        **options,
    )

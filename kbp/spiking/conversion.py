"""Spiking networks made from trained ones."""

from typing import Any

import keras
from keras import layers

from kbp import graph
from kbp._utils.arguments import check_integer
from kbp.spiking.clip_floor_shift import LEAST, ClipFloorShift
from kbp.spiking.encoders import DirectCurrent, Latency, PoissonRate
from kbp.spiking.neurons import IntegrateAndFire
from kbp.spiking.over_time import OverTime
from kbp.spiking.readouts import Readout
from kbp.spiking.rectifiers import (
    AT_INPUTS,
    LINEAR,
    RECTIFIERS,
    apart,
    percentiles,
    rectifiers,
)


def to_clip_floor_shift(
    model: keras.Model,
    data: Any,
    *,
    levels: int = 8,
    percentile: float = 99.9,
    examples: int = 256,
) -> keras.Model:
    """Return a model whose ReLUs round as spikes will, to be trained on.

    Some epochs of `fit` let the network get used to the rounding, and find the
    thresholds; `to_spiking` takes these then.

    Args:
        model: a trained functional or Sequential model of linear layers and
            ReLUs, left as it is.
        data: inputs in any form that `fit` takes, for the first thresholds.
        levels: of the rounding: about the time steps that there will be.
        percentile: of the values of a ReLU, where its threshold begins.
        examples: how many inputs to take.

    Returns:
        A functional model with weights of its own, not compiled.

    Raises:
        ValueError: a layer cannot become spiking, which is named; or an
            argument is out of range.

    Reference:
        Bu et al., Optimal ANN-SNN Conversion for High-Accuracy and
        Ultra-Low-Latency Spiking Neural Networks, ICLR 2022.

    Example:
    >>> import keras, numpy as np, kbp
    >>> dense = keras.layers.Dense(3, activation="relu", name="dense")
    >>> model = keras.Sequential([keras.Input((4,)), dense])
    >>> x = np.ones((8, 4), "float32")
    >>> [x.name for x in kbp.spiking.to_clip_floor_shift(model, x).layers[1:]]
    ['dense', 'dense_relu']
    """
    prepared = apart(model)
    limits = percentiles(
        prepared, data, percentile=percentile, examples=examples
    )
    made: dict[keras.Layer, keras.Layer] = {}

    def call(layer: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, layers.ReLU):
            if layer not in made:
                made[layer] = ClipFloorShift(
                    levels, limits[layer], name=layer.name
                )
            layer = made[layer]
        return layer(*args, **kwargs)

    return graph.rewrite(prepared, call=call)


def to_spiking(
    model: keras.Model,
    data: Any = None,
    *,
    timesteps: int,
    percentile: float = 99.9,
    examples: int = 256,
    encoder: keras.Layer | None = None,
    settle: float = 0.0,
    truncation: int | None = None,
    **neurons: Any,
) -> keras.Model:
    """Return a spiking network that computes what a trained one does.

    Each ReLU becomes neurons that integrate and fire, with spikes as high as
    their threshold: the mean of the spikes over time approaches what the ReLU
    gives. What is linear is computed at each time step, with the same weights;
    a BatchNormalization goes into the layer before it. What lies before the
    first neurons is computed once, as a current that flows all the time,
    unless there is an encoder. The answer is the mean over time, then the last
    activation.

    Args:
        model: a functional or Sequential model of linear layers (Dense,
            convolutions, average pooling, additions, ...) and ReLUs or
            `ClipFloorShift`, left as it is. Masks must be gone, by
            `kbp.sparsity.shrink` or `strip`.
        data: inputs in any form that `fit` takes, which set the thresholds of
            ReLUs; not needed where all are `ClipFloorShift`.
        timesteps: how long it runs.
        percentile: of the values of a ReLU, which its threshold is.
        examples: how many inputs to take.
        encoder: a layer from `(batch, ...)` to `(batch, timesteps, ...)`, such
            as `PoissonRate`; without, inputs are currents. `PoissonRate` and
            `Latency` take values of 0 to 1, as `data` must be then.
        settle: which share of the time at the beginning the answer leaves out,
            in [0, 1). Half of it suits networks of ten layers and more, whose
            first spikes come before those that would have held them back.
        truncation: time steps that gradients go back, if it is trained on.
        **neurons: arguments of `IntegrateAndFire`: `surrogate`, `slope`,
            `learn_threshold`, `leak`, ...

    Returns:
        A functional model with weights of its own, inputs and outputs of the
        same shapes, not compiled. It can be trained on, through time.

    Raises:
        ValueError: a layer cannot become spiking, which is named; the model
            has no ReLU; an argument is out of range; or the encoder gives
            another number of time steps, does not fit the data, or would stand
            before what encodes the rows of tables.

    Reference:
        Rueckauer et al., Conversion of Continuous-Valued Deep Networks to
        Efficient Event-Driven Networks for Image Classification, 2017.

    Example:
    >>> import keras, numpy as np, kbp
    >>> hidden = keras.layers.Dense(16, activation="relu")
    >>> output = keras.layers.Dense(3, activation="softmax")
    >>> model = keras.Sequential([keras.Input((4,)), hidden, output])
    >>> x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
    >>> spiking = kbp.spiking.to_spiking(model, x, timesteps=64)
    >>> gap = np.abs(spiking.predict(x, verbose=0) - model(x)).max()
    >>> bool(gap < 0.05)
    True
    """
    check_integer(timesteps=timesteps)
    prepared = apart(model)
    found = {node.operation for node in rectifiers(prepared)}
    if not found:
        raise ValueError(f"Model {model.name} has no ReLU to become spiking.")
    limits = {
        layer: max(LEAST, float(layer.level))
        for layer in found
        if isinstance(layer, ClipFloorShift)
    }
    if data is None and len(limits) < len(found):
        raise ValueError(
            "Argument `data` must be inputs, which set the thresholds of "
            "ReLUs. Received: data=None"
        )
    if encoder is not None:
        encoder = _fitting(encoder, prepared, timesteps)
    shares = isinstance(encoder, PoissonRate | Latency)
    if data is not None and (shares or len(limits) < len(found)):
        limits = {
            **percentiles(
                prepared,
                data,
                percentile=percentile,
                examples=examples,
                encoder=encoder if shares else None,
            ),
            **limits,
        }
    options = {
        "initial": 0.5,
        "height": "threshold",
        "truncation": truncation,
        **neurons,
    }
    unique = graph.UniqueNames(x.name for x in prepared.operations)
    converting = _Converting(
        limits, timesteps, encoder, options, unique, settle
    )
    made = graph.rewrite(prepared, call=converting)
    outputs = [converting.out_of_time(x) for x in made.outputs]
    structure = keras.tree.pack_sequence_as(made.output, outputs)
    return keras.Model(made.input, structure, name=model.name)


def _fitting(
    encoder: keras.Layer, model: keras.Model, timesteps: int
) -> keras.Layer:
    """Return the encoder by a name that the model's layers have not.

    Raises:
        ValueError: it does not fit the model, or the time.
    """
    for layer in model.layers:
        if isinstance(layer, AT_INPUTS):
            raise ValueError(
                f"Layer {layer.name} ({type(layer).__name__}) takes inputs as "
                "they are, in units of their own, which cannot be spikes. "
                f"Leave the encoder out. Received: encoder={encoder.name}"
            )
    given = getattr(encoder, "timesteps", timesteps)
    if given != timesteps:
        raise ValueError(
            f"Argument `encoder` gives {given} time steps, and `timesteps` is "
            f"{timesteps}: make them the same."
        )
    taken = {x.name for x in model.operations}
    if encoder.name not in taken:
        return encoder
    name = graph.UniqueNames(taken)(encoder.name)
    return graph.clone_layer(encoder, name=name)


class _Converting:
    """Calls layers over time once their inputs have one."""

    def __init__(
        self,
        limits: dict[keras.Layer, float],
        timesteps: int,
        encoder: keras.Layer | None,
        options: dict[str, Any],
        unique: graph.UniqueNames,
        settle: float,
    ) -> None:
        self.limits, self.options = limits, options
        self.encoder, self.unique, self.settle = encoder, unique, settle
        if encoder is not None:
            unique(encoder.name)
        self.repeat = DirectCurrent(timesteps, name=unique("current"))
        self.answers: dict[int, Any] = {}  # by tensor, what is read out of it
        self.timed: dict[int, Any] = {}  # by tensor, that with time
        self.produced: dict[int, Any] = {}  # which stay, as do their ids
        self.made: dict[keras.Operation, keras.Layer] = {}

    def __call__(
        self, layer: keras.Operation, *args: Any, **kwargs: Any
    ) -> Any:
        several = isinstance(args[0], list | tuple)
        inputs = list(args[0]) if several else [args[0]]
        if self.encoder is not None:
            for x in inputs:
                if id(x) not in self.produced and id(x) not in self.timed:
                    self.timed[id(x)] = self.encoded(x)
                    self.produced[id(x)] = x
        if isinstance(layer, RECTIFIERS):
            outputs = self.neurons(layer)(self.in_time(inputs[0]))
            self.timed[id(outputs)] = outputs
        elif isinstance(layer, LINEAR) and any(
            id(x) in self.timed for x in inputs
        ):
            inputs = [self.in_time(x) for x in inputs]
            if layer not in self.made:
                self.made[layer] = OverTime(layer, name=layer.name)
            outputs = self.made[layer](inputs if several else inputs[0])
            self.timed[id(outputs)] = outputs
        else:
            inputs = [self.out_of_time(x) for x in inputs]
            outputs = layer(inputs if several else inputs[0])
        self.produced[id(outputs)] = outputs
        return outputs

    def encoded(self, x: Any) -> Any:
        """Return inputs as the encoder gives them."""
        outputs = self.encoder(x) if self.encoder is not None else x
        if outputs.shape[1] != self.repeat.timesteps:
            raise ValueError(
                "Argument `encoder` must give (batch, timesteps, ...), of "
                f"{self.repeat.timesteps} time steps. Received: shape "
                f"{tuple(outputs.shape)}"
            )
        return outputs

    def neurons(self, layer: keras.Layer) -> keras.Layer:
        if layer not in self.made:
            self.made[layer] = IntegrateAndFire(
                self.limits[layer], name=layer.name, **self.options
            )
        return self.made[layer]

    def in_time(self, x: Any) -> Any:
        """Return a tensor with an axis of time."""
        if id(x) not in self.timed:
            self.timed[id(x)] = self.repeat(x)
        return self.timed[id(x)]

    def out_of_time(self, x: Any) -> Any:
        """Return what is answered of a tensor, if it has a time."""
        if id(x) not in self.timed or self.timed[id(x)] is not x:
            return x
        if id(x) not in self.answers:
            name = self.unique(f"{x._keras_history.operation.name}_rate")
            readout = Readout(settle=self.settle, name=name)
            self.answers[id(x)] = readout(x)
        return self.answers[id(x)]

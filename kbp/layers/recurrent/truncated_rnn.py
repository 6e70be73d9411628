"""Truncated backpropagation through time."""

from typing import Any, Self

import keras
from keras import ops

from kbp._utils.arguments import check_integer, check_one_of
from kbp._utils.types import Shape, Tensor
from kbp.layers.recurrent.loop import Loop
from kbp.layers.recurrent.modes import MODES, whole


@keras.saving.register_keras_serializable(package="kbp")
class TruncatedRNN(keras.layers.Wrapper):
    """Train a recurrent layer with gradients that go back a number of steps.

    States go on, so outputs are the layer's own. Gradients go through `steps`
    steps, so that memory need not hold all of a long sequence:

    | mode           | the gradient of an output                               |
    | -------------- | ------------------------------------------------------- |
    | `"blocks"`     | stops at borders every `steps` steps, counted from the  |
    |                | end: the last output's goes through `steps`, others'    |
    |                | through 1 to `steps`                                    |
    | `"sliding"`    | goes through the `steps` newest ones, for each output;  |
    |                | costs `steps` times the time                            |
    | `"randomized"` | stops before each step with the probability             |
    |                | `c = 1 / steps`, and is multiplied by `1 / (1 - c)`     |
    |                | where it goes on: its mean over all draws is the full   |
    |                | gradient                                                |

    One draw cuts all sequences of a batch. Gradients are truncated in training
    (`training=True`), and there alone; what is computed for them is computed
    twice, by parts, to save memory. A time step that a mask leaves out counts
    as a step.

    With `streams`, a training batch goes on where the last one ended: each of
    its places is a stream, whose states are kept from batch to batch, and no
    gradient goes back into an earlier batch. They are weights that are not
    trained, so that checkpoints hold them; `reset_state()` begins anew. At
    inference states begin at 0.

    For both directions, `keras.layers.Bidirectional(TruncatedRNN(layer, ...))`.

    Args:
        layer: `keras.layers.LSTM`, `GRU`, `SimpleRNN` or `RNN`; or a cell, of
            which an `RNN` is made.
        steps: one or more; `None` for the layer as it is.
        mode: `"blocks"`, `"sliding"` or `"randomized"`.
        streams: examples in each training batch, whose states go on in the
            next; by default none do.
        seed: of the random cuts, an integer or a `keras.random.SeedGenerator`.
        **kwargs: `name`, and `dtype`, which is the layer's by default.

    Call arguments:
        sequences: tensor `(batch, time, features)`, whose time is fixed.
        initial_state: as of the layer.
        mask: booleans `(batch, time)`.
        training: whether gradients are truncated, and the layer drops.

    Returns:
        What the layer returns.

    Raises:
        ValueError: the layer is none of these, or unrolled; an argument is
            out of range; or the time is not fixed, or a training batch of
            another size than there are streams.

    Reference:
        Williams and Peng, An Efficient Gradient-Based Algorithm for On-Line
        Training of Recurrent Network Trajectories, 1990; Tallec and Ollivier,
        Unbiasing Truncated Backpropagation Through Time, 2017.

    Example:
    >>> import keras, kbp
    >>> lstm = keras.layers.LSTM(8, return_sequences=True)
    >>> layer = kbp.layers.TruncatedRNN(lstm, steps=50)
    >>> layer(keras.ops.ones((2, 200, 3)), training=True).shape
    TensorShape([2, 200, 8])
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        steps: int | None,
        *,
        mode: str = "blocks",
        streams: int | None = None,
        seed: int | keras.random.SeedGenerator | None = None,
        **kwargs: Any,
    ):
        if not isinstance(layer, keras.layers.RNN) and _is_cell(layer):
            layer = keras.layers.RNN(layer)
        kwargs.setdefault("dtype", getattr(layer, "dtype_policy", None))
        regularizer = getattr(layer, "activity_regularizer", None)
        kwargs.setdefault("activity_regularizer", regularizer)
        super().__init__(layer, **kwargs)
        check_one_of(tuple(MODES), mode=mode)
        if steps is not None:
            check_integer(steps=steps)
        _check(layer, steps)
        if streams is not None:
            check_integer(streams=streams)
            if layer.stateful or layer.go_backwards:
                raise ValueError(
                    "Argument `streams` is for a layer that goes forward and "
                    "keeps no states of its own. Received: streams="
                    f"{streams}, layer={layer}"
                )
        if seed is not None and mode != "randomized":
            raise ValueError(
                "Argument `seed` is for mode='randomized'. Received: "
                f"seed={seed}, mode={mode!r}"
            )
        self.steps, self.mode, self.streams = steps, mode, streams
        self.carried: list[keras.Variable] = []
        self.seed = seed
        if mode == "randomized":
            given = isinstance(seed, keras.random.SeedGenerator)
            self.seed_generator = (
                seed if given else keras.random.SeedGenerator(seed)
            )
        self.supports_masking = True

    # What is asked of a recurrent layer.
    @property
    def cell(self) -> Any:
        """The layer's cell."""
        return self.layer.cell

    @property
    def go_backwards(self) -> bool:
        """Whether the layer begins at the end of the sequence."""
        return self.layer.go_backwards

    @property
    def return_sequences(self) -> bool:
        """Whether the layer returns all outputs."""
        return self.layer.return_sequences

    @property
    def return_state(self) -> bool:
        """Whether the layer returns its states."""
        return self.layer.return_state

    @property
    def stateful(self) -> bool:
        """Whether the layer goes on from the last batch's states."""
        return self.layer.stateful

    @property
    def zero_output_for_mask(self) -> bool:
        """Whether outputs are 0 where the mask leaves out a step."""
        return self.layer.zero_output_for_mask

    @zero_output_for_mask.setter
    def zero_output_for_mask(self, value: bool) -> None:
        self.layer.zero_output_for_mask = value

    def reset_state(self) -> None:
        """Set the states of streams, or of a stateful layer, to 0."""
        kept = self.carried or (self.layer.stateful and self.layer.states)
        for variable in keras.tree.flatten(kept or []):
            variable.assign(ops.zeros_like(variable))

    reset_states = reset_state

    def get_initial_state(self, batch_size: int) -> list[Tensor]:
        """Return the states before the first step."""
        return self.layer.get_initial_state(batch_size)

    def build(
        self, sequences_shape: Shape, initial_state_shape: Any = None
    ) -> None:
        if self.steps is not None and (
            len(sequences_shape) != 3 or sequences_shape[1] is None
        ):
            raise ValueError(
                f"Layer {self.name} must be given (batch, time, features), "
                "with a fixed number of time steps. Received: shape "
                f"{tuple(sequences_shape)}"
            )
        super().build(sequences_shape)
        if self.streams:
            states = self.layer.get_initial_state(batch_size=self.streams)
            self.carried = [
                self.add_weight(
                    name=f"stream_state_{number}",
                    shape=state.shape,
                    initializer="zeros",
                    trainable=False,
                )
                for number, state in enumerate(keras.tree.flatten(states))
            ]

    def call(
        self,
        sequences: Tensor,
        initial_state: Any = None,
        mask: Tensor | None = None,
        training: bool = False,
    ) -> Any:
        layer, steps = self.layer, self.steps
        if steps and steps >= sequences.shape[1] and self.mode != "randomized":
            steps = None
        if not training or not (steps or self.carried):
            return layer.call(
                sequences,
                initial_state=initial_state,
                mask=mask,
                training=training,
            )
        if self.carried:
            sequences, mask = map(self._of_streams, (sequences, mask))
        states = self._first_states(initial_state, ops.shape(sequences)[0])
        if layer.go_backwards:
            sequences, mask = (
                None if x is None else ops.flip(x, axis=1)
                for x in (sequences, mask)
            )
        loop = Loop(layer, sequences, mask, states, training)
        seed = getattr(self, "seed_generator", None)
        outputs, carry = (
            MODES[self.mode](loop, steps, seed) if steps else whole(loop)
        )
        *states, last = (ops.cast(x, self.compute_dtype) for x in carry)
        if layer.stateful or self.carried:
            kept = self.carried or keras.tree.flatten(layer.states)
            for variable, state in zip(kept, states, strict=True):
                variable.assign(state)
        if outputs is not None:
            last = ops.cast(outputs, self.compute_dtype)
        if not layer.return_state:
            return last
        return last, *keras.tree.pack_sequence_as(loop.structure, states)

    def _first_states(self, given: Any, batch_size: Tensor) -> list[Any]:
        """Return the states before the first step, as the cell takes them."""
        layer = self.layer
        if given is None and self.carried:
            empty = layer.get_initial_state(batch_size=self.streams)
            given = keras.tree.pack_sequence_as(empty, self.carried)
        elif given is None and layer.stateful:
            given = layer.states
        elif given is None:
            given = layer.get_initial_state(batch_size=batch_size)
        given = [*given] if keras.tree.is_nested(given) else [given]
        dtype = layer.cell.compute_dtype
        return keras.tree.map_structure(
            lambda x: ops.convert_to_tensor(x, dtype=dtype), given
        )

    def _of_streams(self, x: Tensor | None) -> Tensor | None:
        """Return a tensor whose batch is known to be as large as it must be."""
        if x is None:
            return None
        if x.shape[0] not in (None, self.streams):
            raise ValueError(
                f"Layer {self.name} has {self.streams} streams, so training "
                f"batches must be of that size. Received: {x.shape[0]}"
            )
        return ops.reshape(x, (self.streams, *x.shape[1:]))

    def compute_output_shape(
        self, sequences_shape: Shape, initial_state_shape: Any = None
    ) -> Any:
        return self.layer.compute_output_shape(sequences_shape)

    def compute_mask(self, sequences: Tensor, mask: Any) -> Any:
        return self.layer.compute_mask(sequences, mask)

    def get_config(self) -> dict[str, Any]:
        seed = self.seed
        if isinstance(seed, keras.random.SeedGenerator):
            seed = keras.saving.serialize_keras_object(seed)
        own = {
            "steps": self.steps,
            "mode": self.mode,
            "streams": self.streams,
            "seed": seed,
        }
        config = {**super().get_config(), **own}
        # The layer has it.
        config.pop("activity_regularizer", None)
        return config

    @classmethod
    def from_config(
        cls,
        config: dict[str, Any],
        custom_objects: dict[str, Any] | None = None,
    ) -> Self:
        config = dict(config)
        inner = dict(config["layer"])
        if "go_backwards" in config:  # `Bidirectional` turns a layer by it
            inner["config"] = {
                **inner["config"],
                "go_backwards": config.pop("go_backwards"),
            }
        config["layer"] = inner
        for key in ("layer", "seed"):
            if isinstance(config[key], dict):
                config[key] = keras.saving.deserialize_keras_object(
                    config[key], custom_objects=custom_objects
                )
        return cls(**config)


def _is_cell(layer: Any) -> bool:
    return hasattr(layer, "state_size") and hasattr(layer, "call")


def _check(layer: Any, steps: int | None) -> None:
    """Refuse what no gradient can be truncated in."""
    images = (
        keras.layers.ConvLSTM1D,
        keras.layers.ConvLSTM2D,
        keras.layers.ConvLSTM3D,
    )
    if not isinstance(layer, keras.layers.RNN) or isinstance(layer, images):
        raise ValueError(
            "Argument `layer` must be keras.layers.LSTM, GRU, SimpleRNN, RNN "
            "or a cell; of two directions, wrap this layer in "
            f"keras.layers.Bidirectional. Received: layer={layer}"
        )
    if layer.unroll and steps is not None:
        raise ValueError(
            "Argument `layer` must not be unrolled: gradients are truncated "
            f"in a loop. Received: layer {layer.name} with unroll=True"
        )

"""The sharpness of the loss along a training."""

from typing import Any

import keras

from kbp._utils.arguments import check_integer, check_one_of
from kbp.diagnostics.curvature.mean_loss import MeanLoss
from kbp.diagnostics.curvature.spectrum import check_tolerance, ends


class Sharpness(keras.callbacks.Callback):
    """Logs the largest eigenvalue of the Hessian along a training.

    Gradient descent is stable while it is below 2 over the learning rate, and
    tends to end there, at the edge of stability. It is computed before the
    training and then at regular intervals, and is in the logs of each epoch as
    `sharpness`, the last value that is known, so that the history, TensorBoard
    and CSV files have it if their callbacks come later. The training stays as
    it is, bit by bit.

    Args:
        probe: a tuple `(x, y)` of arrays, the same all along; it is one batch.
        every: number of epochs, or steps, after which to compute it.
        unit: `"epochs"` or `"steps"`.
        loss: as for `compile`; by default that of the compiled model.
        tolerance: of the eigenvalue, see `hessian_spectrum`.
        seed: of the vector that Lanczos's iteration begins with.

    Attributes:
        steps: numbers of steps after which it was computed.
        values: what it was then.

    Raises:
        ValueError: an argument is out of range.

    Reference:
        Cohen et al., Gradient Descent on Neural Networks Typically Occurs at
        the Edge of Stability, 2021.

    Example:
    >>> import keras, numpy as np, kbp
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> x = np.array([[1.0], [-1.0]])
    >>> sharpness = kbp.diagnostics.Sharpness((x, x))
    >>> past = model.fit(x, x, epochs=2, verbose=0, callbacks=[sharpness])
    >>> [round(value, 4) for value in past.history["sharpness"]]
    [2.0, 2.0]
    >>> sharpness.steps
    [0, 1, 2]
    """

    def __init__(
        self,
        probe: tuple[Any, ...],
        *,
        every: int = 1,
        unit: str = "epochs",
        loss: Any = None,
        tolerance: float = 1e-3,
        seed: int = 0,
    ):
        super().__init__()
        check_integer(every=every)
        check_one_of(("epochs", "steps"), unit=unit)
        check_tolerance(tolerance=tolerance)
        if not isinstance(probe, tuple):
            raise ValueError(
                "Argument `probe` must be a tuple (x, y) of arrays. "
                f"Received: {type(probe).__name__}"
            )
        self.probe, self.every, self.unit = probe, every, unit
        self.loss, self.tolerance, self.seed = loss, tolerance, seed
        self.steps: list[int] = []
        self.values: list[float] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.steps, self.values, self._step = [], [], 0
        whole = max([1, *map(len, keras.tree.flatten(self.probe))])
        self._objective = MeanLoss(self.model, self.probe, self.loss, whole)
        self._measure()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._step += 1
        if self.unit == "steps" and self._step % self.every == 0:
            self._measure()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.unit == "epochs" and (epoch + 1) % self.every == 0:
            self._measure()
        if logs is not None:
            logs["sharpness"] = self.values[-1]

    def _measure(self) -> None:
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()  # `fit` holds the weights elsewhere
        found, _ = ends(
            self._objective, 1, "largest", self.tolerance, self.seed
        )
        self.steps.append(self._step)
        self.values.append(float(found[-1]))

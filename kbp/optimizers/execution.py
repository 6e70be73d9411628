"""How a step runs: as it is, or on TensorFlow over replicas and compiled."""

import keras
from keras import ops


class Execution:
    """Runs a step as it stands: JAX, PyTorch.

    Attributes:
        fuses: whether small variables are gathered in groups whose update is
            compiled as one.
        reason: why it is so, for people.
    """

    fuses = False
    reason = "the backend compiles the whole training step"

    def dense(self, gradient):
        """Return a gradient as one tensor."""
        return gradient

    def squared_norm(self, tensors):
        """Return the sum of all squares; not finite where any entry is not."""
        return sum(ops.sum(ops.square(x)) for x in tensors)

    def add_variable(self, optimizer, like, shape, name):
        """Create a variable of zeros beside the variable `like`."""
        return optimizer.add_variable(shape, dtype=like.dtype, name=name)

    def run(self, step, gradients, learning_rate, state):
        """Call `step(gradients, learning_rate, state)`."""
        step(gradients, learning_rate, state)

    def compile(self, function):
        """Return a function that does the same, perhaps faster."""
        return function

    def check(self, skipped_in_a_row, limit):
        """Raise where so many steps were skipped, if that can be done here."""


def create() -> Execution:
    """Return what suits the Keras backend."""
    if keras.backend.backend() == "tensorflow":
        from kbp.optimizers.tensorflow_execution import TensorFlowExecution

        return TensorFlowExecution()
    return Execution()

"""A transform that multiplies a kernel by a stored mask."""

import keras

from kbp._utils.types import Tensor
from kbp.layers.transforms.kernel_transform import KernelTransform


@keras.saving.register_keras_serializable(package="kbp")
class FixedMask(KernelTransform):
    """Multiply a kernel by a stored mask of zeros and ones.

    It keeps the decisions of a `DTM` while training continues, for instance
    with fake quantization: a pruned weight gets no gradient and stays zero. The
    mask is a variable, so it is saved and loaded with the model.

    Call arguments:
        kernel: tensor of any shape.

    Returns:
        The masked kernel, of the kernel's shape.

    Example:
    >>> import numpy as np, kbp
    >>> mask = kbp.layers.FixedMask()
    >>> np.asarray(mask(np.array([0.2, -0.9], "float32")))  # ones until set
    array([ 0.2, -0.9], dtype=float32)
    """

    def build(self, kernel_shape: tuple[int, ...]) -> None:
        self.mask = self.add_weight(
            name="mask",
            shape=kernel_shape,
            initializer="ones",
            trainable=False,
        )

    def call(self, kernel: Tensor) -> Tensor:
        return kernel * self.mask

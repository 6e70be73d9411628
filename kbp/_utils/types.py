"""Names for the types of tensors and shapes, which Keras does not ship."""

from collections.abc import Callable
from typing import Any

# What a layer is called on is a tensor of the backend that runs, a symbolic
# `keras.KerasTensor`, a variable or an array: they share no class, and Keras
# and TensorFlow ship no types that tell them apart.
Tensor = Any
# A size that is not known before data comes is `None`.
Shape = tuple[int | None, ...]
# What `keras.activations.get` takes.
Activation = str | Callable[[Tensor], Tensor]

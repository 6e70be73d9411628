"""What a layer costs."""

import math

from keras import layers

from kbp import graph

_KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")
_TRANSPOSED = (
    layers.Conv1DTranspose,
    layers.Conv2DTranspose,
    layers.Conv3DTranspose,
)


def multiply_adds(call: graph.Call) -> int:
    """Return the multiply-adds of one use of a layer on one example.

    Of layers with kernels and of matrix products; 0 for all others, and for
    sizes that are not known 1.
    """
    operation = call.operation
    (outputs, *_), shape = call.outputs, _sizes
    if type(operation).__name__ == "Matmul":
        return math.prod(shape(outputs)) * shape(call.inputs[0])[-1]
    if isinstance(operation, layers.Embedding):
        return 0
    kernels = [getattr(operation, k) for k in _KERNELS if hasattr(operation, k)]
    size = sum(math.prod(kernel.shape) for kernel in kernels)
    if not size:
        return 0
    if isinstance(operation, layers.EinsumDense):
        inputs, rest = operation.equation.split(",")
        kernel, given = rest.split("->")
        summed = math.prod(
            n
            for letter, n in zip(kernel, operation.kernel.shape, strict=True)
            if letter in inputs and letter not in given
        )
        return math.prod(shape(outputs)) * summed
    places = call.inputs[0] if isinstance(operation, _TRANSPOSED) else outputs
    return size * math.prod(shape(places)[:-1])


def _sizes(tensor):
    return [size or 1 for size in tensor.shape[1:]]

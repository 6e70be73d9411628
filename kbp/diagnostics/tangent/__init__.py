"""Networks as they are for small changes of their weights."""

from kbp.diagnostics.tangent.dynamics import predict_dynamics
from kbp.diagnostics.tangent.infinite import (
    InfiniteKernels,
    infinite_tangent_kernel,
)
from kbp.diagnostics.tangent.kernel import (
    KernelSpectrum,
    kernel_spectrum,
    tangent_kernel,
)
from kbp.diagnostics.tangent.linear_model import LinearizedModel, linearized

__all__ = [
    "InfiniteKernels",
    "KernelSpectrum",
    "LinearizedModel",
    "infinite_tangent_kernel",
    "kernel_spectrum",
    "linearized",
    "predict_dynamics",
    "tangent_kernel",
]

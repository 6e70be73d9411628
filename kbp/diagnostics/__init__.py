"""What happens inside backpropagation, in one call each."""

from kbp.diagnostics.activation_monitor import ActivationMonitor
from kbp.diagnostics.check_gradients import check_gradients, check_layer
from kbp.diagnostics.curvature import (
    HessianSpectrum,
    LossSurface,
    SaddleCheck,
    Sharpness,
    hessian_spectrum,
    is_saddle,
    loss_surface,
)
from kbp.diagnostics.effective_rank import effective_rank
from kbp.diagnostics.gradient_check import GradientCheck, VariableCheck
from kbp.diagnostics.gradient_monitor import GradientMonitor
from kbp.diagnostics.tangent import (
    InfiniteKernels,
    KernelSpectrum,
    LinearizedModel,
    infinite_tangent_kernel,
    kernel_spectrum,
    linearized,
    predict_dynamics,
    tangent_kernel,
)

__all__ = [
    "ActivationMonitor",
    "GradientCheck",
    "GradientMonitor",
    "HessianSpectrum",
    "InfiniteKernels",
    "KernelSpectrum",
    "LinearizedModel",
    "LossSurface",
    "SaddleCheck",
    "Sharpness",
    "VariableCheck",
    "check_gradients",
    "check_layer",
    "effective_rank",
    "hessian_spectrum",
    "infinite_tangent_kernel",
    "is_saddle",
    "kernel_spectrum",
    "linearized",
    "loss_surface",
    "predict_dynamics",
    "tangent_kernel",
]

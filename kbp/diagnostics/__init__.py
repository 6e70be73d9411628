"""What happens inside backpropagation, in one call each."""

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
from kbp.diagnostics.gradient_check import GradientCheck, VariableCheck

__all__ = [
    "GradientCheck",
    "HessianSpectrum",
    "LossSurface",
    "SaddleCheck",
    "Sharpness",
    "VariableCheck",
    "check_gradients",
    "check_layer",
    "hessian_spectrum",
    "is_saddle",
    "loss_surface",
]

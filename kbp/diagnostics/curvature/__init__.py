"""How the loss bends around a model's weights."""

from kbp.diagnostics.curvature.saddle import SaddleCheck, is_saddle
from kbp.diagnostics.curvature.sharpness import Sharpness
from kbp.diagnostics.curvature.spectrum import HessianSpectrum, hessian_spectrum
from kbp.diagnostics.curvature.surface import LossSurface, loss_surface

__all__ = [
    "HessianSpectrum",
    "LossSurface",
    "SaddleCheck",
    "Sharpness",
    "hessian_spectrum",
    "is_saddle",
    "loss_surface",
]

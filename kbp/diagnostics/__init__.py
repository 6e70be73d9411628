"""What happens inside backpropagation, in one call each."""

from kbp.diagnostics.check_gradients import check_gradients, check_layer
from kbp.diagnostics.gradient_check import GradientCheck, VariableCheck

__all__ = ["GradientCheck", "VariableCheck", "check_gradients", "check_layer"]

"""What happens inside backpropagation, in one call each."""

from kbp.diagnostics.activation_monitor import ActivationMonitor
from kbp.diagnostics.check_gradients import check_gradients, check_layer
from kbp.diagnostics.effective_rank import effective_rank
from kbp.diagnostics.gradient_check import GradientCheck, VariableCheck
from kbp.diagnostics.gradient_monitor import GradientMonitor

__all__ = [
    "ActivationMonitor",
    "GradientCheck",
    "GradientMonitor",
    "VariableCheck",
    "check_gradients",
    "check_layer",
    "effective_rank",
]

"""8-bit quantization-aware training, with the quantizers of TFMOT."""

from kbp.quantization.calibrate import calibrate, fake_quantizers
from kbp.quantization.config import QuantizeConfig
from kbp.quantization.fake_quantize import FakeQuantize
from kbp.quantization.float_gate import FloatGate, One
from kbp.quantization.freeze import freeze
from kbp.quantization.quantize import ATTENTION_OPS, quantize, quantize_aware
from kbp.quantization.recurrence.recurrence import Recurrence
from kbp.quantization.sensitivity import RoundedTensor, Sensitivity, sensitivity

__all__ = [
    "ATTENTION_OPS",
    "FakeQuantize",
    "FloatGate",
    "One",
    "QuantizeConfig",
    "Recurrence",
    "RoundedTensor",
    "Sensitivity",
    "calibrate",
    "fake_quantizers",
    "freeze",
    "quantize",
    "quantize_aware",
    "sensitivity",
]

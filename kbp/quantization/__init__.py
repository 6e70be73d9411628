"""8-bit quantization-aware training; the only room that imports TFMOT."""

from kbp.quantization.calibrate import calibrate, fake_quantizers
from kbp.quantization.fake_quantize import FakeQuantize
from kbp.quantization.quantize import quantize_aware

__all__ = ["FakeQuantize", "calibrate", "fake_quantizers", "quantize_aware"]

"""Quantization settings of a person's own layers."""

import keras

from kbp.quantization.fake_quantize import FakeQuantize


class QuantizeConfig:
    """Says which weights and results of a layer are rounded.

    The methods have the names that they have in TFMOT. As it stands, a
    config rounds a layer's result, by its moving range, and no weight.

    Example:
    >>> import keras
    >>> from kbp.quantization import FakeQuantize, QuantizeConfig
    >>> class RoundKernel(QuantizeConfig):
    ...     def get_weights_and_quantizers(self, layer):
    ...         return [(layer.kernel, FakeQuantize("kernel"))]
    """

    def get_weights_and_quantizers(
        self, layer: keras.layers.Layer
    ) -> list[tuple[keras.Variable, FakeQuantize]]:
        """Return weights of a layer and a new quantizer for each."""
        return []

    def get_output_quantizers(
        self, layer: keras.layers.Layer
    ) -> list[FakeQuantize]:
        """Return a new quantizer of the layer's result, or none.

        Without one, the result has to have the range of the input, as of a
        layer that only moves values.
        """
        return [FakeQuantize()]

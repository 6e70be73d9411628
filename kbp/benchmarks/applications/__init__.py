"""Networks of Keras Applications, quantized, exported and timed."""

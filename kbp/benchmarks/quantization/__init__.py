"""8-bit quantization methods compared on the same networks."""

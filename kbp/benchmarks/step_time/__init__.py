"""Time of one optimizer step, next to the optimizers of Keras."""

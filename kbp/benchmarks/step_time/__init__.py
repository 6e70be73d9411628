"""Time of one optimizer step, compared with the optimizers of Keras."""

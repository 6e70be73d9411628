"""Time of a training step with masks, next to one without."""

"""What a training waits for: reading, augmenting, the step."""

"""What a training waits for: reading, augmentation, transfer, the step."""

"""What a recipe asks of pruning and of quantization."""

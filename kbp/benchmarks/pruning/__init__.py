"""Ways to prune, raced on one network."""

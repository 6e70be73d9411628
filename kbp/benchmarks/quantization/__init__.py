"""Ways to eight bits, raced on the same trained networks."""

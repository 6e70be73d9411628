"""Full-batch methods on small networks, beside tuned Adam."""

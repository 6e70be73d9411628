"""Memory of a training on more images than it holds."""

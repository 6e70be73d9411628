"""A recipe trained with several seeds, for its zoo entry."""

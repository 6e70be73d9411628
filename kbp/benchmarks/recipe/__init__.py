"""A recipe trained with several seeds: the figures of its zoo entry."""

"""Batches of packed images, beside image files and tf.data."""

"""Transforms of kernels: masks and bounds of gradients."""

"""Segmentation networks compared under one training recipe."""

"""Speeds measured case by case."""

"""Helpers of all packages: files, argument checks, machine facts, types."""

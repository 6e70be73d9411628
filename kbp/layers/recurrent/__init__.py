"""Recurrent layers whose gradients go back some steps."""

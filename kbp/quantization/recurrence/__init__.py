"""Recurrent layers whose steps are computed in eight bits."""

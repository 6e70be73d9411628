"""Forecasts of heavy-tailed series in float and in eight bits."""

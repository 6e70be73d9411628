"""Forecasts of long horizons, raced under one protocol."""

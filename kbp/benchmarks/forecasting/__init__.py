"""Forecasting methods compared on long horizons under one protocol."""

"""Forecasting methods compared on long horizons."""

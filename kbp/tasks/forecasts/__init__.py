"""Errors and prediction intervals of forecasts, as NumPy arithmetic."""

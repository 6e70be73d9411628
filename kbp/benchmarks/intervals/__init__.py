"""Coverage of the prediction intervals of forecasts."""

"""Linear forecasts inside models: skips, ridges and terms of covariates."""

"""Coverage of prediction intervals on the test parts of public series."""

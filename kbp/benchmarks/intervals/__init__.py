"""Coverage of prediction intervals on the tests of public series."""

"""Networks that label pixels, raced under one recipe."""

"""What techniques of training are worth, on digits and on a forecast."""

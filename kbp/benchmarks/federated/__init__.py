"""Training by clients, beside one who has all the data."""

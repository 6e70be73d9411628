"""What a server makes of its clients' updates: a file for each family."""

"""What a process shares with others: requests to stop, and locks."""

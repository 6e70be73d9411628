"""What every room may use: files, checks of arguments, machine facts."""

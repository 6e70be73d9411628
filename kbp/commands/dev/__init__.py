"""Commands of those who maintain kbp."""

"""Commands that check a recipe before it is trained."""

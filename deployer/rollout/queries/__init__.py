"""The commands that only look, one in each file."""

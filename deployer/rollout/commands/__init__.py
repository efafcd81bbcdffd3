"""The commands that change hosts, one in each file."""

"""From the source to a complete release on every host."""

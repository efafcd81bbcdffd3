"""Waves of instances: how each changes, what goes back, and how much may fail."""

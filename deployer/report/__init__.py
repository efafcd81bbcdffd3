"""Listeners to the events of a run, and how errors look."""

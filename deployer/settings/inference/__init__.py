"""What can be read from an app's code without importing it."""

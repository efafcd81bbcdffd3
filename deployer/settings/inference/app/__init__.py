"""Where the app is in the code, and its routes."""

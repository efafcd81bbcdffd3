"""`deploy`: put a Python web app on your own servers and change it there, without one user noticing."""

__version__ = "0.1.0"

"""Virtualenvs, and the programs that build them."""

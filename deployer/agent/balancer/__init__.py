"""Balancers: drain, admit, maintenance, the watchdog; one folder for each kind."""

"""What every run has: connections, locks, settings, the record and the history, outcomes."""

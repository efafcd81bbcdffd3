"""What users see: the probe, the canary, domains and the maintenance page."""

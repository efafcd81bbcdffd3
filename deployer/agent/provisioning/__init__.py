"""Making a host as resources say: files, packages, users, services."""

"""What the app depends on: requirements and lock files, resolved for the hosts, and the key of a virtualenv."""

"""A balancer and a server in plain Python, which deploy finds by the entry points of this package."""

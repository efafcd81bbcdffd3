"""What runs on a host: standard library only, Python 3.9 or newer, nothing of the rest of the package.

It is sent over the SSH channel at every run and never installed. Every operation is idempotent.
"""

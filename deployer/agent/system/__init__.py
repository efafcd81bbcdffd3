"""The machine, and nothing of the app: programs, /proc, control groups, files, ports."""

"""HAProxy: its driver, and the tool that reloads it."""

"""The HTTP of the probe: connections, responses, websockets, and what counts as a failure."""

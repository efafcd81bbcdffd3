"""From a source tree to what a host is missing: clean checkout, manifest of content hashes, pinned dependencies."""

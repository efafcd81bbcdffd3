"""Units and frontends of another tool, which deploy takes over."""

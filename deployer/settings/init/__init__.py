"""The first settings, as `deploy init` writes them."""

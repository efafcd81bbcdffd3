"""What `shared:` means for a release, and warnings about what lies there."""

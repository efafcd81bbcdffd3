"""Building, completing and removing releases; the release hook."""

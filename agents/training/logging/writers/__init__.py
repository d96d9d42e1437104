"""Log writers: one file each, found by its registered name."""

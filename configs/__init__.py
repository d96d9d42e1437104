"""Settings files: one small YAML per choice, read by agents.words."""

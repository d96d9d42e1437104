"""Settings of every command: dataclasses, YAML presets and `key=value` words."""

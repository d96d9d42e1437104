"""Settings of runs and commands: dataclasses, YAML presets and `key=value` words."""

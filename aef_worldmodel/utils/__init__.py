"""Errors, files, tables, checkpoints, progress, signals, registries and settings."""

"""Comparison of the tasks with dm_control: `python -m envs.verify` and `.verification.images`."""

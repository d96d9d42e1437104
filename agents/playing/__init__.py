"""Policies in environments: the loop, evaluations and probes."""

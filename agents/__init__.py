"""Agents that learn in a world model, and the commands that train, play and inspect them."""

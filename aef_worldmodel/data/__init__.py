"""Replay buffer, recorded episodes and image data sets."""

"""Stable-Baselines3's SAC and PPO on the world model's features."""

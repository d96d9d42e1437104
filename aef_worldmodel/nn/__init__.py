"""Layers, densities and flows that models are made of."""

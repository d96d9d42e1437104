"""Density models of still images: autoencoder, prior and likelihood."""

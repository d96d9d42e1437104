"""Measures of images, samples and latents."""

"""An encoder that never learns: what random features of an image are worth."""

import torch
from torch import Tensor, nn

from aef_worldmodel.autoencoders.base import Code
from aef_worldmodel.autoencoders.networks import Shape
from aef_worldmodel.autoencoders.registry import AUTOENCODERS
from aef_worldmodel.autoencoders.vae import PlainAutoencoder

ENCODED = 64  # images at once


@AUTOENCODERS.register("random-encoder")
class FrozenEncoder(PlainAutoencoder):
    """Plain autoencoder with random, constant weights in the encoder; the decoder learns.

    `set_mean` standardises each latent over the images it is given, so that dynamics and agents see
    latents of the usual scale.
    """

    centre: Tensor  # (d,)
    spread: Tensor  # (d,)

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, shape: Shape, latent_dim: int, **options
    ) -> None:
        super().__init__(encoder, decoder, shape, latent_dim, **options)
        self.encoder.requires_grad_(False)
        self.register_buffer("centre", torch.zeros(latent_dim))
        self.register_buffer("spread", torch.ones(latent_dim))

    def set_mean(self, images: Tensor) -> None:
        """Take mean image and scale of the latents from images (N, C, H, W) uint8."""
        super().set_mean(images)
        parts = (self.preprocess(part, dequantise=False) for part in images.split(ENCODED))
        with torch.no_grad():
            raw = torch.cat([self.statistics(y)[0] for y in parts])  # (N, d)
        self.centre.copy_(raw.mean(0))
        self.spread.copy_(raw.std(0, correction=0).clamp(min=1e-6))

    def encode_y(self, y: Tensor, *, sample: bool = True) -> Code:
        """Return the standardised random features of y, with a log-det of zero."""
        code = super().encode_y(y)
        return code._replace(latent=(code.latent - self.centre) / self.spread)

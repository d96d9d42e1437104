"""Autoencoders by name, for world models and image models alike.

| name | class | likelihood |
|---|---|---|
| aef, aef-dct | `PartitionAEF`, core of low frequencies | exact |
| aef-center, aef-corner | `PartitionAEF`, core of pixels | exact |
| expanded, aef-linear | `ExpandedAEF` | of the expanded space |
| vae | `VariationalAutoencoder` | a bound |
| ae | `PlainAutoencoder` | none |
| aef-noise | `NoisyAEF`, constant noise on the latent in training | exact without it |
| ae-sigreg | `WhitenedAutoencoder`, latents pushed towards N(0, I) | none |
| random-encoder | `FrozenEncoder` | none |

A new autoencoder is one new file in this package, whose class registers itself in `AUTOENCODERS`.
"""

from collections.abc import Callable
from typing import Any

from torch import nn

from aef_worldmodel.autoencoders.base import Autoencoder, Variance
from aef_worldmodel.autoencoders.networks import Shape, make_networks
from aef_worldmodel.utils.registry import Registry

# (encoder, decoder, shape, latent_dim, **options) -> Autoencoder
AUTOENCODERS: Registry[Callable[..., Autoencoder]] = Registry(
    "autoencoder", "aef_worldmodel.autoencoders"
)


def make_autoencoder(
    name: str,
    shape: Shape,
    latent_dim: int,
    *,
    networks: str | tuple[nn.Module, nn.Module],
    sigma_floor: float,
    variance: Variance = "independent",
    width: int = 64,
    hidden: int = 256,
    **options: Any,
) -> Autoencoder:
    """Return an autoencoder by name.

    Args:
        name: one of `AUTOENCODERS`.
        shape: (C, H, W) of images.
        latent_dim: d.
        networks: one of `networks.NETWORKS`, or an encoder and a decoder of your own.
        sigma_floor: smallest standard deviation of the decoder, in units of preprocessed images.
        variance: of the decoder, see `Autoencoder`.
        width: base channels of named networks.
        hidden: width of their dense layers, where they have some (`networks.make_networks`).
        options: of the class: core, flow, expansion, bijection, log_scale_bound, scale.

    Raises:
        ValueError: an unknown name, or sizes that do not fit.
    """
    if isinstance(networks, str):
        two_images = variance == "dependent"
        networks = make_networks(
            networks, shape, latent_dim, width=width, hidden=hidden, two_images=two_images
        )
    options |= {"sigma_floor": sigma_floor, "variance": variance}
    return AUTOENCODERS[name](*networks, shape, latent_dim, **options)

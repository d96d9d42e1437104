"""Encoders and decoders by name, for world models and image models alike.

| name | networks | sides of images |
|---|---|---|
| patch | matrix products over patches: the fastest on a CPU | multiples of 16 |
| pyramid | patch's encoder, a decoder of overlapping transposed convolutions | multiples of 16 |
| conv | two strided convolutions and their mirror: the paper's small networks | multiples of 4 |
| residual | bottleneck blocks between changes of resolution: its large ones | multiples of 16 |
| mlp | two dense layers; of vectors (P,) too, for instance a simulator's states | any |

An encoder maps an image (N, C, H, W) to mean and raw log-scale of a latent, each (N, d); a decoder
maps a latent (N, d) to a mean image (N, C, H, W). Any module of this signature will do. To give
networks of your own a name, register a `NetworkPair`.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from aef_worldmodel.utils.registry import Registry

Shape = tuple[int, ...]  # (C, H, W) of images, or (P,) of vectors


@dataclass(frozen=True)
class NetworkPair:
    """Encoder and decoder classes, both called as `cls(shape, latent_dim, **options)`."""

    encoder: type[nn.Module]
    decoder: type[nn.Module]
    options: tuple[str, ...] = ("width",)
    """Names of their options: width, and hidden where they have a dense layer."""
    of_vectors: bool = False
    """Whether they take vectors (P,) too."""

    def choose(self, sizes: dict[str, int]) -> dict[str, int]:
        """Return those of the sizes that the networks have an option for."""
        return {name: size for name, size in sizes.items() if name in self.options}


NETWORKS: Registry[NetworkPair] = Registry("networks", "aef_worldmodel.autoencoders")


def make_encoder(
    name: str, shape: Shape, latent_dim: int, *, width: int = 64, hidden: int = 256
) -> nn.Module:
    """Return the encoder of the networks `name`; arguments and errors as `make_networks`."""
    pair = NETWORKS[name]
    if len(shape) != 3 and not pair.of_vectors:
        raise ValueError(
            f"networks={name} see images, and these observations are {shape[0]} numbers: give "
            "world_model=states, or networks=mlp"
        )
    return pair.encoder(shape, latent_dim, **pair.choose({"width": width, "hidden": hidden}))


def make_decoder(
    name: str,
    shape: Shape,
    latent_dim: int,
    *,
    width: int = 64,
    hidden: int = 256,
    two_images: bool = False,
) -> nn.Module:
    """Return the decoder of the networks `name`; arguments and errors as `make_networks`."""
    pair = NETWORKS[name]
    sizes = pair.choose({"width": width, "hidden": hidden})
    if not two_images:
        return pair.decoder(shape, latent_dim, **sizes)
    return TwoImages(pair.decoder((2 * shape[0], *shape[1:]), latent_dim, **sizes))


def make_networks(
    name: str, shape: Shape, latent_dim: int, *, two_images: bool = False, **sizes: Any
) -> tuple[nn.Module, nn.Module]:
    """Return the encoder and the decoder of that name, the encoder drawn first.

    Args:
        name: one of `NETWORKS`.
        shape: (C, H, W) of images.
        latent_dim: d.
        two_images: make the decoder return a mean and a raw standard deviation, each
            (N, C, H, W), for a variance that depends on the latent.
        sizes: width, base channels (64); hidden, width of the dense layers (256), which conv and
            residual do without.

    Raises:
        ValueError: an unknown name, or sides that do not fit.
    """
    encoder = make_encoder(name, shape, latent_dim, **sizes)
    return encoder, make_decoder(name, shape, latent_dim, two_images=two_images, **sizes)


def fitting_networks(shape: Shape) -> str:
    """Return the name of the networks for images whose user names none: patch, else conv."""
    return "conv" if shape[1] % 16 or shape[2] % 16 else "patch"


def check_sides(shape: Shape, multiple: int) -> None:
    """Raise ValueError unless height and width are multiples of `multiple`."""
    if shape[1] % multiple or shape[2] % multiple:
        raise ValueError(
            f"images of {shape[1]}x{shape[2]} pixels: these networks need sides that are "
            f"multiples of {multiple}; choose other networks or another image size"
        )


class TwoImages(nn.Module):
    """Split a decoder of twice the channels into two images: mean and raw standard deviation."""

    def __init__(self, decoder: nn.Module):
        super().__init__()
        self.decoder = decoder

    def forward(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Return two images, each (N, C, H, W), of latents (N, d)."""
        return self.decoder(latent).chunk(2, 1)

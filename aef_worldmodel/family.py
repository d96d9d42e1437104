"""The AEF family of still images by short names.

model = AEF((1, 28, 28), latent_dim=8, core="center", prior="maf")
model = VAE((1, 28, 28), latent_dim=8, posterior="iaf")
model = make_model("aef-center", (1, 28, 28), latent_dim=8)
"""

from typing import Any

from torch import nn

from aef_worldmodel.autoencoders import (
    ExpandedAEF,
    PartitionAEF,
    PlainAutoencoder,
    VariationalAutoencoder,
)
from aef_worldmodel.eye import Autoencoder, Variance
from aef_worldmodel.flows import Flow
from aef_worldmodel.image_model import ImageModel
from aef_worldmodel.image_networks import Shape, make_networks
from aef_worldmodel.preprocessing import ActNorm, Chain, Logit
from aef_worldmodel.splits import SPLITS

PREPROCESSING = ("affine", "logit")
CORES = (*SPLITS, "linear")


def AEF(
    shape: Shape,
    latent_dim: int,
    *,
    core: str | nn.Module = "dct",
    core_flow: str | Flow | None = None,
    prior: str | Flow | None = None,
    noise: float = 0.0,
    expansion: nn.Module | None = None,
    **options: Any,
) -> ImageModel:
    """An autoencoder within flows.

    Args:
        shape: (C, H, W) of images.
        latent_dim: d.
        core: "dct", "center", "corner" or a split of your own (splits.py): the partition family,
            exact. "linear": the expanded family.
        core_flow: flow on the core before the encoder's affine layer; a kind of `flows.FLOWS`.
        prior: flow from latents to noise.
        noise: of a denoising AEF, see `ImageModel`.
        expansion: for "linear" alone, the network (N, D) -> (N, d) that takes the place of W.
        options: of `make_eye`: networks, width, encoder, decoder, variance, sigma_floor,
            preprocessing, log_scale_bound.

    Raises:
        ValueError: anything unknown, or sizes that do not fit.
    """
    if expansion is not None and core != "linear":
        raise ValueError(f"an expansion needs core='linear', not core={core!r}")
    if isinstance(core, str) and core not in CORES:
        raise ValueError(f"unknown core {core!r}; choose one of {', '.join(CORES)}")
    flow = make_flow(core_flow, latent_dim)
    if core == "linear":
        eye = make_eye(ExpandedAEF, shape, latent_dim, flow=flow, expansion=expansion, **options)
    else:
        eye = make_eye(PartitionAEF, shape, latent_dim, flow=flow, core=core, **options)
    return ImageModel(eye, make_flow(prior, latent_dim), noise=noise)


def VAE(
    shape: Shape,
    latent_dim: int,
    *,
    posterior: str | Flow | None = None,
    prior: str | Flow | None = None,
    samples: int = 1,
    noise: float = 0.0,
    **options: Any,
) -> ImageModel:
    """A variational autoencoder with the networks of an `AEF`.

    Args:
        shape: (C, H, W) of images.
        latent_dim: d.
        posterior: flow given the encoder's statistics that bends q(z | x); "iaf" is the cheap one.
        prior: flow from latents to noise.
        samples: K; above 1 an importance-weighted autoencoder.
        noise: of a denoising VAE, see `ImageModel`.
        options: of `make_eye`.

    Raises:
        ValueError: anything unknown, or sizes that do not fit.
    """
    flow = make_flow(posterior, latent_dim, context=2 * latent_dim)
    eye = make_eye(VariationalAutoencoder, shape, latent_dim, flow=flow, **options)
    return ImageModel(eye, make_flow(prior, latent_dim), samples=samples, noise=noise)


def AE(shape: Shape, latent_dim: int, *, noise: float = 0.0, **options: Any) -> ImageModel:
    """A plain autoencoder with the networks of an `AEF`: no prior, no likelihood, no samples.
    With `noise`, a denoising one. Options of `make_eye`."""
    return ImageModel(make_eye(PlainAutoencoder, shape, latent_dim, **options), noise=noise)


def make_eye(
    kind: type[Autoencoder],
    shape: Shape,
    latent_dim: int,
    *,
    networks: str | None = None,
    width: int = 64,
    encoder: nn.Module | None = None,
    decoder: nn.Module | None = None,
    variance: Variance = "independent",
    sigma_floor: float = 0.01,
    preprocessing: str = "affine",
    **options: Any,
) -> Autoencoder:
    """An eye with networks by name or of your own.

    Args:
        kind: class of eye.
        shape: (C, H, W) of images.
        latent_dim: d.
        networks: a name of `image_networks.NETWORKS`; None takes what fits the sides.
        width: channels of those networks.
        encoder: image (N, C, H, W) -> mean and raw log-scale, each (N, d).
        decoder: latent (N, d) -> mean image, or two images if variance="dependent".
        variance: "independent", "fixed" (sigma_floor itself) or "dependent" on the latent.
        sigma_floor: least decoder standard deviation in units of y (see `preprocessing`).
            Dequantisation alone makes 0.0045 of affine preprocessing.
        preprocessing: "affine", `4 (u - mean image)`; or "logit", the logit of
            `0.05 + 0.9 u` and an ActNorm a channel.
        options: of the kind, as log_scale_bound.

    Raises:
        ValueError: anything unknown, half a pair of networks, or sizes that do not fit.
    """
    if (encoder is None) != (decoder is None):
        raise ValueError("give both encoder and decoder, or neither")
    if preprocessing not in PREPROCESSING:
        known = ", ".join(PREPROCESSING)
        raise ValueError(f"unknown preprocessing {preprocessing!r}; choose one of {known}")
    if encoder is None:
        two = variance == "dependent"
        encoder, decoder = make_networks(networks, shape, latent_dim, width, two)
    bijection = Chain([Logit(), ActNorm(shape[0])]) if preprocessing == "logit" else None
    options |= {"variance": variance, "sigma_floor": sigma_floor, "bijection": bijection}
    return kind(encoder, decoder, shape, latent_dim, **options)


def make_flow(flow: str | Flow | None, dims: int, context: int = 0) -> Flow | None:
    """A flow by its kind; one of your own, or None, as it is."""
    return Flow(flow, dims, context) if isinstance(flow, str) else flow


MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "aef-dct": (AEF, {"core": "dct"}),
    "aef-center": (AEF, {"core": "center"}),
    "aef-corner": (AEF, {"core": "corner"}),
    "aef-linear": (AEF, {"core": "linear"}),
    "vae": (VAE, {}),
    "vae-iaf": (VAE, {"posterior": "iaf"}),
    "vae-maf": (VAE, {"posterior": "maf"}),
    "iwae": (VAE, {"samples": 8}),
    "ae": (AE, {}),
}


def make_model(name: str, shape: Shape, latent_dim: int, **options: Any) -> ImageModel:
    """A model by its name in `MODELS`; options of its constructor.

    Raises:
        ValueError: an unknown name, or options that do not fit.
    """
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; choose one of {', '.join(MODELS)}")
    constructor, fixed = MODELS[name]
    return constructor(shape, latent_dim, **fixed, **options)

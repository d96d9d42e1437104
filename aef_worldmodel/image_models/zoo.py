"""Image models by short names.

model = AEF((1, 28, 28), latent_dim=8, core="center", prior="maf")
model = VAE((1, 28, 28), latent_dim=8, posterior="iaf")
model = make_model("aef-center", (1, 28, 28), latent_dim=8)
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from aef_worldmodel.autoencoders.base import Autoencoder, Variance
from aef_worldmodel.autoencoders.networks import (
    Shape,
    fitting_networks,
    make_decoder,
    make_encoder,
)
from aef_worldmodel.autoencoders.preprocessing import ActNorm, Chain, Logit
from aef_worldmodel.autoencoders.registry import AUTOENCODERS, make_autoencoder
from aef_worldmodel.autoencoders.splits import SPLITS
from aef_worldmodel.image_models.model import ImageModel
from aef_worldmodel.nn.flows import Flow
from aef_worldmodel.utils.registry import suggest

PREPROCESSING = ("affine", "logit")
CORES = (*SPLITS, "linear")


def AEF(
    shape: Shape,
    latent_dim: int,
    *,
    core: str | nn.Module = "dct",
    core_flow: str | Flow | None = None,
    expansion: nn.Module | None = None,
    **options: Any,
) -> ImageModel:
    """Return an autoencoder within flows.

    Args:
        shape: (C, H, W) of images.
        latent_dim: d.
        core: "dct", "center", "corner" or a split of your own (autoencoders/splits.py) for the
            partition family, whose likelihood is exact; "linear" for the expanded family.
        core_flow: flow on the core before the encoder's affine layer; a kind of `flows.FLOWS`.
        expansion: for "linear" only, the network (N, D) -> (N, d) that takes the place of W.
        options: of `image_model` and `build_autoencoder`.

    Raises:
        ValueError: an unknown name, or sizes that do not fit.
    """
    if expansion is not None and core != "linear":
        raise ValueError(f"an expansion needs core='linear', not core={core!r}")
    if isinstance(core, str) and core not in CORES:
        raise ValueError(f"unknown core {core!r}: {suggest(core, CORES)}")
    options["flow"] = make_flow(core_flow, latent_dim)
    if core == "linear":
        return image_model("expanded", shape, latent_dim, expansion=expansion, **options)
    return image_model("aef", shape, latent_dim, core=core, **options)


def VAE(
    shape: Shape, latent_dim: int, *, posterior: str | Flow | None = None, **options: Any
) -> ImageModel:
    """Return a variational autoencoder with the networks of an `AEF`.

    Args:
        shape: (C, H, W) of images.
        latent_dim: d.
        posterior: flow that shapes q(z | x), given the encoder's statistics; a kind of
            `flows.FLOWS`, of which "iaf" is the fastest here.
        options: of `image_model` and `build_autoencoder`; samples above 1 make an
            importance-weighted autoencoder.

    Raises:
        ValueError: an unknown name, or sizes that do not fit.
    """
    flow = make_flow(posterior, latent_dim, context=2 * latent_dim)
    return image_model("vae", shape, latent_dim, flow=flow, **options)


def AE(shape: Shape, latent_dim: int, *, noise: float = 0.0, **options: Any) -> ImageModel:
    """Return a plain autoencoder with the networks of an `AEF`, without prior and likelihood.

    With `noise` the autoencoder is a denoising one. The options are those of `build_autoencoder`.
    """
    return image_model("ae", shape, latent_dim, noise=noise, **options)


def image_model(
    autoencoder: str,
    shape: Shape,
    latent_dim: int,
    *,
    prior: str | Flow | None = None,
    samples: int = 1,
    noise: float = 0.0,
    **options: Any,
) -> ImageModel:
    """Return the image model of a registered autoencoder.

    Args:
        autoencoder: one of `AUTOENCODERS`.
        shape: (C, H, W) of images.
        latent_dim: d.
        prior: flow from latents to noise, a kind of `flows.FLOWS`; None for N(0, I).
        samples: K of the objective, see `ImageModel`.
        noise: of a denoising model, see `ImageModel`.
        options: of `build_autoencoder`.

    Raises:
        ValueError: an unknown name, or sizes that do not fit.
    """
    built = build_autoencoder(autoencoder, shape, latent_dim, **options)
    return ImageModel(built, make_flow(prior, latent_dim), samples=samples, noise=noise)


def build_autoencoder(
    name: str,
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
    """Return an autoencoder of still images, with named networks or networks of your own.

    Args:
        name: one of `AUTOENCODERS`.
        shape: (C, H, W) of images.
        latent_dim: d.
        networks: one of `NETWORKS`; None for patch where the sides are multiples of 16, else conv.
        width: base channels of those networks.
        encoder: image (N, C, H, W) -> mean and raw log-scale, each (N, d).
        decoder: latent (N, d) -> mean image, or two images if variance="dependent".
        variance: "independent", "fixed" (sigma_floor itself) or "dependent" on the latent.
        sigma_floor: smallest standard deviation of the decoder, in units of preprocessed images;
            dequantisation alone contributes 0.0045 under affine preprocessing.
        preprocessing: "affine", `4 (u - mean image)`; or "logit", the logit of
            `0.05 + 0.9 u` and an ActNorm of each channel.
        options: of the autoencoder: flow, log_scale_bound.

    Raises:
        ValueError: an unknown name, half a pair of networks, or sizes that do not fit.
    """
    if (encoder is None) != (decoder is None):
        raise ValueError("give both encoder and decoder, or neither")
    if preprocessing not in PREPROCESSING:
        known = suggest(preprocessing, PREPROCESSING)
        raise ValueError(f"unknown preprocessing {preprocessing!r}: {known}")
    if encoder is None or decoder is None:
        named = networks or fitting_networks(shape)
        two_images = variance == "dependent"
        # decoder first: the order of random draws belongs to the results of a seed
        decoder = make_decoder(named, shape, latent_dim, width=width, two_images=two_images)
        encoder = make_encoder(named, shape, latent_dim, width=width)
    bijection = Chain([Logit(), ActNorm(shape[0])]) if preprocessing == "logit" else None
    options |= {"variance": variance, "sigma_floor": sigma_floor, "bijection": bijection}
    return make_autoencoder(name, shape, latent_dim, networks=(encoder, decoder), **options)


def make_flow(flow: str | Flow | None, dims: int, context: int = 0) -> Flow | None:
    """Return a flow of that kind; a flow of your own and None are returned as they are."""
    return Flow(flow, dims, context) if isinstance(flow, str) else flow


MODELS: dict[str, Callable[..., ImageModel]] = {
    **{f"aef-{core}": partial(AEF, core=core) for core in CORES},
    "vae": VAE,
    "vae-iaf": partial(VAE, posterior="iaf"),
    "vae-maf": partial(VAE, posterior="maf"),
    "iwae": partial(VAE, samples=8),
    "ae": AE,
}
PLAIN = ("ae", "ae-sigreg", "random-encoder")  # models without a likelihood or a prior
MODELS |= {name: partial(image_model, name) for name in AUTOENCODERS if name not in MODELS}


def make_model(name: str, shape: Shape, latent_dim: int, **options: Any) -> ImageModel:
    """Return the model of a name in `MODELS`, with the options of its constructor.

    Raises:
        ValueError: an unknown name, or options that do not fit.
    """
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}: {suggest(name, MODELS)}")
    return MODELS[name](shape, latent_dim, **options)

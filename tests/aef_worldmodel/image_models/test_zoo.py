"""Image models by name: their networks, and models that do not exist."""

import pytest
import torch
from tiny import random_images
from torch import nn

from aef_worldmodel import AE, AEF, VAE
from aef_worldmodel.image_models.zoo import MODELS, make_model


@pytest.mark.parametrize(
    ("networks", "shape"),
    [
        ("conv", (1, 28, 28)),
        ("conv", (3, 32, 32)),
        ("residual", (3, 64, 64)),
        ("patch", (3, 32, 32)),
        ("residual", (1, 48, 32)),
        (None, (1, 28, 28)),
        (None, (3, 64, 64)),
    ],
)
def test_networks_fit_their_images(networks, shape):
    model = AEF(shape, 4, networks=networks, width=8)
    image = model.reconstruct(random_images(2, shape))
    assert image.shape == (2, *shape)


def test_siblings_have_equal_networks():
    counts = {
        name: sum(
            p.numel()
            for part in (m.autoencoder.encoder, m.autoencoder.decoder)
            for p in part.parameters()
        )
        for name in MODELS
        for m in (make_model(name, (1, 8, 8), 3, width=4),)
    }
    assert len(set(counts.values())) == 1


REFUSED = {
    "unknown core 'dtc': did you mean dct": lambda: AEF((1, 8, 8), 2, core="dtc"),
    "unknown model 'aff'": lambda: make_model("aff", (1, 8, 8), 2),
    "unknown networks 'cnn'": lambda: AEF((1, 8, 8), 2, networks="cnn"),
    "unknown preprocessing 'log'": lambda: VAE((1, 8, 8), 2, preprocessing="log"),
    "unknown variance 'free'": lambda: VAE((1, 8, 8), 2, variance="free"),
    "sigma_floor=0 of a fixed variance must be above 0": lambda: VAE(
        (1, 8, 8), 2, variance="fixed", sigma_floor=0
    ),
    "unknown flow 'nsf'": lambda: AEF((1, 8, 8), 2, prior="nsf"),
    "give both encoder and decoder": lambda: AEF((1, 8, 8), 2, encoder=nn.Identity()),
    "an expansion needs core='linear'": lambda: AEF((1, 8, 8), 2, expansion=nn.Identity()),
    "7x7 pixels: these networks need sides that are multiples of 4": lambda: AEF((1, 7, 7), 2),
    "multiples of 16": lambda: AEF((1, 28, 28), 2, networks="residual"),
    "samples=0": lambda: VAE((1, 8, 8), 2, samples=0),
    "samples=4 is for a VAE or an expanded AEF without noise": lambda: VAE(
        (1, 8, 8), 2, samples=4, noise=0.1
    ),
    "no prior to sample from": lambda: AE((1, 8, 8), 2, width=4).sample(1),
    "has no likelihood": lambda: AE((1, 8, 8), 2, width=4).log_prob(random_images(1, (1, 8, 8))),
    "is exact; leave them out": lambda: AEF((1, 8, 8), 2, width=4).log_prob(
        random_images(1, (1, 8, 8)), samples=3
    ),
    "expected \\(N, 1, 8, 8\\) uint8": lambda: AEF((1, 8, 8), 2, width=4).encode(
        torch.zeros(1, 1, 8, 8)
    ),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_impossible_models_are_refused(sentence):
    with pytest.raises(ValueError, match=sentence):
        REFUSED[sentence]()

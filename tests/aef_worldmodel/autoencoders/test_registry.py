"""Networks and autoencoders by name: every pair works, and new ones serve both kinds of models."""

import pytest
import torch
from tiny import Decoder, Encoder, random_images

from aef_worldmodel.autoencoders.networks import (
    NETWORKS,
    NetworkPair,
    fitting_networks,
    make_decoder,
    make_encoder,
    make_networks,
)
from aef_worldmodel.autoencoders.registry import AUTOENCODERS, make_autoencoder
from aef_worldmodel.autoencoders.vae import PlainAutoencoder
from aef_worldmodel.image_models.zoo import AEF, image_model
from aef_worldmodel.world_models.config import RecurrentConfig
from aef_worldmodel.world_models.recurrent import RecurrentWorldModel

SHAPE = (3, 32, 16)


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_names():
    cores = {"aef", "aef-dct", "aef-center", "aef-corner"}
    rivals = {"vae", "ae", "ae-sigreg", "aef-noise", "random-encoder"}
    assert {*cores, *rivals, "expanded", "aef-linear"} == set(AUTOENCODERS)
    assert set(NETWORKS) == {"conv", "residual", "patch", "pyramid", "mlp"}


@pytest.mark.parametrize("networks", ["conv", "residual", "patch", "pyramid", "mlp"])
@pytest.mark.parametrize("name", AUTOENCODERS.names())
def test_every_autoencoder_works_with_every_pair_of_networks(name, networks):
    made = make_autoencoder(name, SHAPE, 4, networks=networks, sigma_floor=0.2, width=8)
    images = random_images(3, SHAPE)
    latent = made.encode(images).latent
    assert latent.shape == (3, 4) and made.decode(latent).shape == images.shape
    assert made.sigma_floor == 0.2


@pytest.mark.parametrize(("name", "alias"), [("aef-dct", "aef"), ("expanded", "aef-linear")])
def test_an_alias_makes_the_same_autoencoder(name, alias):
    made = []
    for each in (name, alias):
        torch.manual_seed(0)
        made.append(make_autoencoder(each, SHAPE, 4, networks="patch", sigma_floor=0.1, width=8))
    assert type(made[0]) is type(made[1]) and same(*made)


def test_the_encoder_is_drawn_before_the_decoder():
    torch.manual_seed(0)
    encoder, decoder = make_networks("patch", SHAPE, 4, width=8, hidden=16)
    torch.manual_seed(0)
    assert same(make_encoder("patch", SHAPE, 4, width=8, hidden=16), encoder)
    assert same(make_decoder("patch", SHAPE, 4, width=8, hidden=16), decoder)


@pytest.mark.parametrize("networks", ["patch", "pyramid", "conv", "residual", "mlp"])
def test_hidden_is_an_option_of_networks_with_dense_layers(networks):
    def count(hidden):
        parts = make_networks(networks, SHAPE, 4, width=8, hidden=hidden)
        return sum(p.numel() for part in parts for p in part.parameters())

    assert (count(16) != count(32)) == ("hidden" in NETWORKS[networks].options)
    assert ("hidden" in NETWORKS[networks].options) == (networks in ("patch", "pyramid", "mlp"))


def test_two_images_are_mean_and_deviation():
    decoder = make_decoder("conv", SHAPE, 4, width=8, two_images=True)
    mean, raw = decoder(torch.randn(2, 4))
    assert mean.shape == raw.shape == (2, *SHAPE) and not torch.equal(mean, raw)


@pytest.mark.parametrize(
    ("shape", "name"), [((1, 28, 28), "conv"), ((3, 64, 48), "patch"), ((3, 64, 40), "conv")]
)
def test_default_networks_fit_the_sides(shape, name):
    assert fitting_networks(shape) == name
    make_networks(fitting_networks(shape), shape, 4, width=4)


def test_networks_of_your_own_serve_world_models_and_image_models():
    NETWORKS.register("mine")(NetworkPair(Encoder, Decoder, options=("hidden",)))
    config = RecurrentConfig(networks="mine", latent_dim=4, recurrent_dim=8, hidden_dim=7, width=9)
    world = RecurrentWorldModel(config, SHAPE, 2).autoencoder
    image = AEF(SHAPE, 4, networks="mine").autoencoder
    for autoencoder in (world, image):
        assert isinstance(autoencoder.encoder, Encoder)
        assert isinstance(autoencoder.decoder, Decoder)
    assert world.encoder.net[1].out_features == 7


def test_an_autoencoder_of_your_own_serves_world_models_and_image_models():
    @AUTOENCODERS.register("mine")
    class Mine(PlainAutoencoder):
        """An autoencoder under another name."""

    config = RecurrentConfig(autoencoder="mine", latent_dim=4, recurrent_dim=8, width=8)
    assert isinstance(RecurrentWorldModel(config, SHAPE, 2).autoencoder, Mine)
    assert isinstance(image_model("mine", SHAPE, 4, width=8).autoencoder, Mine)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: make_networks("path", SHAPE, 4), "unknown networks 'path': did you mean patch"),
        (
            lambda: make_autoencoder("eaf", SHAPE, 4, networks="patch", sigma_floor=0.1),
            "unknown autoencoder 'eaf'",
        ),
        (
            lambda: make_networks("pyramid", (3, 40, 32), 4),
            "images of 40x32 pixels: these networks need sides that are multiples of 16",
        ),
    ],
)
def test_unknown_names_and_sides_are_one_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()

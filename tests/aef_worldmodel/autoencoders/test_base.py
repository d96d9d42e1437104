"""Preprocessing, codes and decoders, which all autoencoders have."""

import pytest
import torch
from tiny import Decoder, Encoder, log_prior, random_images

from aef_worldmodel.autoencoders.aef import ExpandedAEF, PartitionAEF
from aef_worldmodel.autoencoders.base import uniform_noise
from aef_worldmodel.autoencoders.splits import make_split
from aef_worldmodel.autoencoders.vae import VariationalAutoencoder

SHAPE, LATENT = (2, 2, 3), 3


def make(kind, seed=0):
    torch.manual_seed(seed)
    return kind(Encoder(SHAPE, LATENT), Decoder(SHAPE, LATENT), SHAPE, LATENT)


def make_partition(core):
    def build(*parts):
        return PartitionAEF(*parts, core=core)

    return build


KINDS = {
    "dct": make_partition("dct"),
    "corner": make_partition("corner"),
    "expanded": ExpandedAEF,
    "vae": VariationalAutoencoder,
}


@pytest.mark.parametrize("name", KINDS)
def test_an_image_has_one_code(name):
    autoencoder, images = make(KINDS[name]), random_images(64, SHAPE)
    code = autoencoder.encode(images)
    assert torch.equal(autoencoder.encode(images).latent, code.latent)
    for part in (images[:1], images[5:12]):
        alone = autoencoder.encode(part).latent
        where = 0 if len(part) == 1 else 5
        torch.testing.assert_close(alone, code.latent[where : where + len(part)], rtol=0, atol=1e-5)
    assert not torch.equal(autoencoder.encode(images, dequantise=True).latent, code.latent)


@pytest.mark.parametrize("name", KINDS)
def test_gradients_reach_every_parameter(name):
    autoencoder = make(KINDS[name])
    code = autoencoder.encode(random_images(64, SHAPE), dequantise=True)
    (
        log_prior(code.latent) + code.log_det + autoencoder.reconstruction_log_prob(code)
    ).mean().backward()
    for parameter, tensor in autoencoder.named_parameters():
        assert tensor.grad is not None and tensor.grad.abs().max() > 0, parameter


@pytest.mark.parametrize("name", KINDS)
def test_the_reconstruction_of_some_images_is_that_of_all(name):
    autoencoder = make(KINDS[name])
    code = autoencoder.encode(random_images(64, SHAPE), dequantise=True)
    chosen = torch.tensor([3, 60, 7])
    torch.testing.assert_close(
        autoencoder.reconstruction_log_prob(code, chosen),
        autoencoder.reconstruction_log_prob(code)[chosen],
    )


@pytest.mark.parametrize("name", KINDS)
def test_decoding_gives_images_and_preprocessing_inverts(name):
    autoencoder, images = make(KINDS[name]), random_images(64, SHAPE)
    autoencoder.set_mean(images)
    y = autoencoder.preprocess(images, dequantise=False)
    torch.testing.assert_close(
        256 * autoencoder.postprocess(y) - 0.5, images.float(), atol=1e-3, rtol=0
    )
    decoded = autoencoder.decode(autoencoder.encode(images).latent)
    assert decoded.shape == images.shape and decoded.min() >= 0 and decoded.max() <= 1
    assert y.mean(0).abs().max() < 1e-4  # centred


@pytest.mark.parametrize("name", ["dct", "corner"])
def test_reconstruction_of_a_partition_keeps_the_latent(name):
    """Decoding r = 0 gives an image whose code is the same latent."""
    autoencoder = make(KINDS[name]).double()
    latent = torch.randn(5, LATENT).double()
    code = autoencoder.encode_y(autoencoder.reconstruct_y(latent))
    torch.testing.assert_close(code.latent, latent, rtol=0, atol=1e-5)
    torch.testing.assert_close(
        autoencoder.split.shell_square(code.target - autoencoder.decoded(latent)),
        torch.zeros(5).double(),
    )


@pytest.mark.parametrize("name", KINDS)
def test_other_tensors_than_images_are_refused(name):
    autoencoder = make(KINDS[name])
    for wrong in (
        random_images(64, SHAPE).float(),
        random_images(64, SHAPE)[0],
        random_images(2, (3, 2, 3)),
    ):
        with pytest.raises(ValueError, match="expected \\(N, 2, 2, 3\\) uint8"):
            autoencoder.encode(wrong)


def test_a_split_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"core of 2 dimensions .* latent_dim=3"):
        make(make_partition(make_split("dct", SHAPE, 2)))
    with pytest.raises(ValueError, match="images of shape \\(1, 4, 4\\)"):
        make(make_partition(make_split("dct", (1, 4, 4), LATENT)))


@pytest.mark.parametrize("count", [1, 7, 8, 9, 4096])
def test_uniform_noise_is_uniform_on_the_middles_of_256_parts(count):
    noise = uniform_noise(torch.zeros(count, 5, dtype=torch.float64))
    level = noise * 256 - 0.5
    assert noise.shape == (count, 5) and torch.equal(level, level.round())
    assert level.min() >= 0 and level.max() <= 255
    if count == 4096:
        counts = level.long().flatten().bincount(minlength=256).double()
        expected = count * 5 / 256
        chi_square = ((counts - expected).square() / expected).sum().item()
        assert 170 < chi_square < 360  # 255 degrees of freedom: five standard deviations


@pytest.mark.parametrize("name", ["dct", "corner", "expanded", "vae"])
def test_bfloat16_networks_keep_the_likelihood(name):
    """The networks in bfloat16, everything else in float32: within 1 % of a nat a dimension."""
    autoencoder, images = make(KINDS[name]), random_images(64, SHAPE)
    y = autoencoder.preprocess(images, dequantise=True)
    code = autoencoder.encode_y(y, sample=False)
    full = (log_prior(code.latent), code.log_det, autoencoder.reconstruction_log_prob(code))
    with torch.autocast("cpu", torch.bfloat16):
        code = autoencoder.encode_y(y, sample=False)
        low = (log_prior(code.latent), code.log_det, autoencoder.reconstruction_log_prob(code))
    for exact, rounded in zip(full, low):
        assert rounded.dtype == torch.float32
        assert not torch.equal(exact, rounded)  # the networks did run in bfloat16
        torch.testing.assert_close(exact, rounded, rtol=0.02, atol=0.12)

"""Densities of image models: invertible, normalised, equal to the change of variables."""

import math

import pytest
import torch
from tiny import grid, random_images, shell_basis, small_model

from aef_worldmodel import AE, AEF, VAE

SHAPE, LATENT = (1, 2, 3), 2
EXACT = {
    "dct": {"core": "dct"},
    "center, maf core": {"core": "center", "core_flow": "maf"},
    "dct, iaf core, coupling prior": {"core": "dct", "core_flow": "iaf", "prior": "coupling"},
    "corner, dependent": {"core": "corner", "variance": "dependent"},
    "dct, dependent, coupling core": {
        "core": "dct",
        "variance": "dependent",
        "core_flow": "coupling",
    },
    "center, fixed, maf prior": {"core": "center", "variance": "fixed", "prior": "maf"},
    "corner, logit, iaf prior": {"core": "corner", "preprocessing": "logit", "prior": "iaf"},
}


def build(constructor, options, shape=SHAPE, latent_dim=LATENT, dtype=torch.float64):
    return small_model(constructor, options, shape, latent_dim, dtype)


def images(count=16, shape=SHAPE, seed=0):
    return random_images(count, shape, seed)


def log_density_of_u(model, u):
    """log p(u) of real numbers u (N, C, H, W), nats (N,)."""
    autoencoder = model.autoencoder
    y = (
        autoencoder.scale * (u - autoencoder.mean)
        if autoencoder.bijection is None
        else autoencoder.bijection(u)
    )
    return model._sum(y, y)


# -- exact densities ---------------------------------------------------------------------


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 5e-4), (torch.float64, 1e-11)])
def test_sampling_and_encoding_invert_each_other(name, dtype, error):
    model = build(AEF, EXACT[name], dtype=dtype)
    autoencoder, close = model.autoencoder, {"rtol": 0, "atol": error}
    noise = torch.randn(6, LATENT, dtype=dtype)
    r = autoencoder.split.shell_of(torch.randn(6, *SHAPE, dtype=dtype))
    y = autoencoder.inverse(model.from_noise(noise), r)  # as `sample` does
    latent, deviation, _ = autoencoder.forward_flow(y)
    torch.testing.assert_close(model.to_noise(latent), noise, **close)
    torch.testing.assert_close(deviation, r, **close)
    torch.testing.assert_close(autoencoder.inverse(latent, deviation), y, **close)


@pytest.mark.parametrize("name", EXACT)
def test_log_prob_is_the_change_of_variables_formula(name):
    """log N(z0) + log N(r) + log|det d(z0, r)/du| with autograd's determinant."""
    model = build(AEF, EXACT[name])
    autoencoder, basis = model.autoencoder, shell_basis(model.autoencoder.split)
    u = torch.rand(2, *SHAPE).double()

    def coordinates(flat):
        image = flat.view(1, *SHAPE)
        y = (
            autoencoder.scale * (image - autoencoder.mean)
            if autoencoder.bijection is None
            else autoencoder.bijection(image)
        )
        latent, deviation, _ = autoencoder.forward_flow(y)
        return torch.cat([model.to_noise(latent)[0], basis @ deviation.flatten()])

    for i in range(2):
        jacobian = torch.autograd.functional.jacobian(coordinates, u[i].flatten())
        normal = -0.5 * coordinates(u[i].flatten()).square().sum() - 3 * math.log(2 * math.pi)
        expected = normal + jacobian.slogdet().logabsdet
        torch.testing.assert_close(log_density_of_u(model, u[i : i + 1])[0], expected)


@pytest.mark.parametrize("name", EXACT)
@torch.no_grad()
def test_density_of_u_integrates_to_one(name):
    shape = (1, 1, 2)
    model = build(AEF, EXACT[name], shape, 1)
    points, cell = grid(161, 3.0, 2)
    if model.autoencoder.bijection is None:
        total = log_density_of_u(model, points.view(-1, *shape)).exp().sum() * cell
    else:  # all of its mass lies within the image of the line, wider than [0, 1]
        points, cell = points * 6, cell * 36
        y = points.view(-1, *shape)
        nats = model._sum(y, y) - model.autoencoder.preprocessing_log_det(y)
        total = nats.exp().sum() * cell
    assert total.item() == pytest.approx(1, abs=2e-3)


def test_log_prob_of_frames_is_that_of_their_dequantised_values():
    """Over noise, log p of integer images has the mean of log p(u) over their cells."""
    model, integers = build(AEF, EXACT["corner, dependent"]), images(3)
    many = integers.repeat(400, 1, 1, 1)
    torch.manual_seed(0)
    found = model.log_prob(many).view(400, 3)
    u = (integers + torch.rand(400, 3, *SHAPE).double()) / 256
    expected = log_density_of_u(model, u.flatten(0, 1)).view(400, 3)
    error = (found.std(0) + expected.std(0)) / 20
    assert ((found.mean(0) - expected.mean(0)).abs() < 4 * error).all() and (error > 0).all()
    bits = model.bits_per_dim(many).view(400, 3).mean(0)
    torch.testing.assert_close(bits, 8 - found.mean(0) / (6 * math.log(2)), rtol=0, atol=0.02)


# -- denoising ---------------------------------------------------------------------------


def test_denoising_objective_is_the_density_of_noisy_core_and_clean_shell():
    """Given the noise n on y, (c + n_c, s) -> (z0, r) is one to one."""
    model = build(AEF, {"core": "center", "prior": "maf", "noise": 0.5})
    autoencoder, basis = model.autoencoder, shell_basis(model.autoencoder.split)
    y, noise = torch.randn(2, 1, *SHAPE).double()
    core, shell = autoencoder.split.split(y)
    noisy_core = core + autoencoder.split.split(noise)[0]

    def coordinates(flat):
        shell = (flat[LATENT:] @ basis).view(1, *SHAPE)
        seen = autoencoder.split.merge(
            flat[None, :LATENT], shell + autoencoder.split.shell_of(noise)
        )
        latent = autoencoder.encode_y(seen).latent
        mean, sigma = autoencoder.distribution(latent)
        deviation = basis @ (autoencoder.split.shell_of(shell - mean) / sigma).flatten()
        return torch.cat([model.to_noise(latent)[0], deviation])

    point = torch.cat([noisy_core[0], basis @ shell.flatten()])
    jacobian = torch.autograd.functional.jacobian(coordinates, point)
    normal = -0.5 * coordinates(point).square().sum() - 3 * math.log(2 * math.pi)
    expected = normal + jacobian.slogdet().logabsdet + autoencoder.preprocessing_log_det(y)
    torch.testing.assert_close(model._sum(y, y + noise)[0], expected)


@pytest.mark.parametrize("constructor", [AE, AEF, VAE])
def test_the_encoder_of_a_denoising_model_sees_noise_and_the_decoder_clean_images(constructor):
    model, seen, explained = build(constructor, {"noise": 0.8}), [], []
    model.autoencoder.encoder.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    plain = model.autoencoder.decoder_log_prob
    model.autoencoder.decoder_log_prob = lambda latent, target: (
        explained.append(target) or plain(latent, target)
    )
    torch.manual_seed(3)
    model.objective(images(300))
    torch.manual_seed(3)
    y = model.autoencoder.preprocess(images(300), dequantise=True)
    torch.testing.assert_close(explained[0], model.autoencoder.target(y))
    difference = seen[0] - model.autoencoder.target(y)
    kept = (
        difference[:, model.autoencoder.split.mask.bool()]
        if constructor is AEF and hasattr(model.autoencoder.split, "mask")
        else difference
    )
    assert kept.std().item() == pytest.approx(0.8, abs=0.15)

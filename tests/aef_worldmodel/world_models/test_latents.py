"""Latent distributions beside torch's own, and what their draws let through."""

import pytest
import torch
from torch import distributions as torch_distributions

from aef_worldmodel.world_models.latents import Categorical, Gaussian

CLASSES = 5


def make(kind, seed=0, rows=4):
    """Return a distribution and the same as torch has it."""
    raw = torch.randn(rows, 15, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if kind == "categorical":
        latents = Categorical.from_raw(raw, CLASSES)
        mixed = 0.99 * raw.view(rows, 3, CLASSES).softmax(-1) + 0.01 / CLASSES
        return latents, torch_distributions.Categorical(probs=mixed)
    latents = Gaussian.from_raw(raw[:, :14])
    std = torch.nn.functional.softplus(raw[:, 7:14]) + 0.1
    return latents, torch_distributions.Normal(raw[:, :7], std)


@pytest.mark.parametrize("kind", ["categorical", "gaussian"])
def test_divergence_and_entropy_are_torchs(kind):
    (first, p), (second, q) = make(kind), make(kind, seed=1)
    expected = torch_distributions.kl_divergence(p, q).sum(-1)
    torch.testing.assert_close(first.kl(second), expected)
    torch.testing.assert_close(first.entropy(), p.entropy().sum(-1))
    assert first.kl(first).abs().max() < 1e-12


@pytest.mark.parametrize("kind", ["categorical", "gaussian"])
def test_draws_have_the_distributions_moments(kind):
    latents, expected = make(kind, rows=1)
    many = type(latents)(*(part.expand(20_000, *part.shape[1:]) for part in latents))
    drawn = many.draw(many.noise(torch.Generator().manual_seed(3)))
    mean = expected.probs.flatten() if kind == "categorical" else expected.mean[0]
    std = (mean * (1 - mean)).sqrt() if kind == "categorical" else expected.stddev[0]
    assert ((drawn.mean(0) - mean).abs() < 5 * std / 20_000**0.5).all()
    torch.testing.assert_close(drawn.std(0), std, rtol=0.05, atol=0.005)


def test_without_noise_a_draw_is_the_mode():
    categorical, expected = make("categorical")
    modes = torch.nn.functional.one_hot(expected.probs.argmax(-1), CLASSES).flatten(1)
    assert torch.equal(categorical.draw(), modes.double())
    gaussian, normal = make("gaussian")
    assert torch.equal(gaussian.draw(), normal.mean)


def test_gradients_pass_straight_through_a_draw():
    raw = torch.randn(4, 15, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 15, dtype=torch.float64)
    latents = Categorical.from_raw(raw, CLASSES)
    drawn = latents.draw(latents.noise())
    assert set(drawn.detach().unique().tolist()) == {0.0, 1.0}
    found = torch.autograd.grad((weight * drawn).sum(), raw)[0]
    probs = Categorical.from_raw(raw, CLASSES).log_probs.exp().flatten(1)
    torch.testing.assert_close(found, torch.autograd.grad((weight * probs).sum(), raw)[0])


def test_no_class_is_ruled_out():
    raw = torch.tensor([[100.0, 0.0, 0.0, 0.0, -100.0]])
    assert Categorical.from_raw(raw, CLASSES).log_probs.exp().min() >= 0.01 / CLASSES - 1e-6

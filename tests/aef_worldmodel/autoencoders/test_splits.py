"""Splits: orthonormal, exactly invertible, and the core is where its name says."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import CORES, default_dtype, shell_basis, split_of

from aef_worldmodel.autoencoders.splits import BasisSplit, PixelSplit, dct_basis, make_split

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-13}


@st.composite
def cases(draw):
    """(shape, latent_dim, dtype) for which every core exists."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(2, 6)), draw(st.integers(2, 6)))
    room = min(shape[0] * min(shape[1:]) ** 2, math.prod(shape) - 1)
    latent_dim = draw(st.integers(1, min(room, 8)))
    return shape, latent_dim, draw(st.sampled_from(list(TOLERANCE)))


@pytest.mark.parametrize("core", CORES)
@settings(max_examples=15, deadline=None)
@given(case=cases(), seed=st.integers(0, 99))
def test_a_split_is_an_orthonormal_change_of_coordinates(core, case, seed):
    shape, latent_dim, dtype = case
    torch.manual_seed(seed)
    with default_dtype(dtype):
        split = split_of(core, shape, latent_dim)
        y = 3 * torch.randn(5, *shape)
    inner, shell = split.split(y)
    assert inner.shape == (5, latent_dim) and shell.shape == y.shape
    assert inner.dtype == shell.dtype == dtype
    close = {"rtol": 0, "atol": 20 * TOLERANCE[dtype]}
    torch.testing.assert_close(split.merge(inner, shell), y, **close)  # round trip
    energy = inner.square().sum(1) + shell.square().flatten(1).sum(1)
    torch.testing.assert_close(energy, y.square().flatten(1).sum(1), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(split.split(shell)[0], torch.zeros_like(inner), **close)
    torch.testing.assert_close(split.shell_of(y), shell, **close)
    expected = shell.square().flatten(1).sum(1)
    torch.testing.assert_close(split.shell_square(y), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("core", CORES)
def test_the_shell_of_a_residual_that_is_nearly_all_core_keeps_its_digits(core):
    """Nothing holds the core's part of a decoder's output: it may grow by itself."""
    torch.manual_seed(0)
    split = split_of(core, (3, 16, 16), 8)
    zeros, shell = torch.zeros(4, 3, 16, 16), torch.randn(4, 3, 16, 16)
    residual = shell + split.merge(3_000 * torch.randn(4, 8), zeros)
    residual.requires_grad_()
    square = split.shell_square(residual)
    expected = split.shell_of(shell).square().flatten(1).sum(1)
    torch.testing.assert_close(square, expected, rtol=1e-3, atol=0)
    (gradient,) = torch.autograd.grad(square.sum(), residual)
    torch.testing.assert_close(gradient, 2 * split.shell_of(shell), rtol=0, atol=1e-2)
    assert split.split(gradient)[0].abs().max() < 1e-4  # no force on the core


@pytest.mark.parametrize("core", CORES)
def test_core_and_shell_coordinates_together_have_unit_jacobian(core):
    with default_dtype(torch.float64):
        split = split_of(core, (2, 3, 4), 5)
    basis = shell_basis(split)

    def coordinates(y):
        inner, shell = split.split(y.view(1, 2, 3, 4))
        return torch.cat([inner[0], basis @ shell.flatten()])

    jacobian = torch.autograd.functional.jacobian(coordinates, torch.randn(24).double())
    torch.testing.assert_close(jacobian @ jacobian.T, torch.eye(24).double())


def test_dct_core_holds_the_lowest_grey_frequencies():
    basis = dct_basis((3, 8, 8), 6).view(6, 3, 8, 8)
    torch.testing.assert_close(basis[0], torch.full((3, 8, 8), 192**-0.5).double())
    assert torch.equal(basis[:, 0], basis[:, 1]) and torch.equal(basis[:, 0], basis[:, 2])
    changes = (basis[:, 0].sign().diff(dim=1) != 0)[:, :, 0].sum(1)  # sign changes down a column
    across = (basis[:, 0].sign().diff(dim=2) != 0)[:, 0].sum(1)
    assert (changes + across).tolist() == [0, 1, 1, 2, 2, 2]


def test_pixel_cores_lie_where_they_say():
    corner = make_split("corner", (1, 6, 6), 4).mask[0] == 0
    center = make_split("center", (1, 6, 6), 4).mask[0] == 0
    assert corner[:2, :2].all() and corner.sum() == 4
    assert center[2:4, 2:4].all() and center.sum() == 4
    coloured = make_split("center", (3, 6, 6), 12).mask == 0
    assert coloured[:, 2:4, 2:4].all() and coloured.sum() == 12


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: make_split("middle", (1, 4, 4), 2), "unknown core 'middle': choose one of dct"),
        (lambda: make_split("dct", (1, 4, 4), 0), "latent_dim=0 must be at least 1"),
        (lambda: make_split("dct", (1, 4, 4), 16), "leaves no shell"),
        (
            lambda: make_split("center", (1, 2, 9), 9),
            "center core .* choose at most 4",
        ),
        (lambda: BasisSplit(torch.ones(2, 16), (1, 4, 4)), "rows off orthonormal by 1.6e\\+01"),
        (lambda: BasisSplit(torch.eye(9)[:2], (1, 4, 4)), "give \\(latent_dim, 16\\)"),
        (lambda: BasisSplit(torch.eye(16), (1, 4, 4)), "leaves no shell"),
        (lambda: BasisSplit(torch.ones(16), (1, 4, 4)), "give \\(latent_dim, 16\\)"),
        (lambda: BasisSplit(torch.ones(2, 16) / 0.0, (1, 4, 4)), "rows off orthonormal by"),
        (lambda: PixelSplit(torch.tensor([3, 3]), (1, 4, 4)), "same pixel twice"),
    ],
)
def test_impossible_splits_are_refused(build, words):
    with pytest.raises(ValueError, match=words):
        build()

"""The eyes: exactly invertible, exactly normalised, and equal to closed forms where they exist."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import (
    CORES,
    Decoder,
    Encoder,
    LinearDecoder,
    LinearEncoder,
    default_dtype,
    partition,
    shell_basis,
)
from torch.distributions import MultivariateNormal, kl_divergence

from aef_worldmodel.autoencoders import ExpandedAEF, PartitionAEF, VariationalAutoencoder
from aef_worldmodel.distributions import standard_normal_log_prob
from aef_worldmodel.eye import uniform_noise
from aef_worldmodel.importance import importance_log_prob
from aef_worldmodel.splits import make_split

SHAPE, LATENT = (2, 2, 3), 3
ROUND_TRIP = {torch.float32: 2e-4, torch.float64: 1e-12}


def log_prior(latent):
    """log N(z; 0, I), (N,)."""
    return standard_normal_log_prob(latent).sum(-1)


def log_density(eye, y):
    """log p of y/scale + mean, that is of u, under a standard normal prior, nats (N,)."""
    code = eye.encode_y(y)
    return log_prior(code.latent) + code.volume + eye.pixels(code)


@st.composite
def cases(draw):
    """(shape, latent_dim, dtype) for which every core exists."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(2, 4)), draw(st.integers(2, 4)))
    room = min(shape[0] * min(shape[1:]) ** 2, math.prod(shape) - 1)
    return shape, draw(st.integers(1, min(room, 5))), draw(st.sampled_from(list(ROUND_TRIP)))


# -- the partition AEF -------------------------------------------------------------------


@pytest.mark.parametrize("core", CORES)
@settings(max_examples=12, deadline=None)
@given(case=cases(), seed=st.integers(0, 99))
def test_partition_inverts_exactly_both_ways(core, case, seed):
    shape, latent_dim, dtype = case
    eye = partition(core, shape, latent_dim, dtype, seed)
    y = 2 * torch.randn(4, *shape, dtype=dtype)
    latent, deviation, _ = eye.forward_flow(y)
    close = {"rtol": 0, "atol": ROUND_TRIP[dtype]}
    torch.testing.assert_close(eye.inverse(latent, deviation), y, **close)
    latent = torch.randn(4, latent_dim, dtype=dtype)  # and a sample comes back as it was drawn
    deviation = eye.split.shell_of(torch.randn(4, *shape, dtype=dtype))
    again = eye.forward_flow(eye.inverse(latent, deviation))
    torch.testing.assert_close(again[0], latent, **close)
    torch.testing.assert_close(again[1], deviation, **close)


def flow_coordinates(eye, basis):
    """y (D,) -> (z, r) (D,), r in orthonormal coordinates of the shell."""

    def map(flat):
        latent, deviation, _ = eye.forward_flow(flat.view(1, *eye.shape))
        return torch.cat([latent[0], basis @ deviation.flatten()])

    return map


@pytest.mark.parametrize("core", CORES)
def test_log_determinant_is_that_of_autograds_jacobian(core):
    eye = partition(core, SHAPE, LATENT)
    coordinates = flow_coordinates(eye, shell_basis(eye.split))
    for _ in range(3):
        y = torch.randn(1, *SHAPE).double()
        jacobian = torch.autograd.functional.jacobian(coordinates, y.flatten())
        torch.testing.assert_close(eye.forward_flow(y)[2][0], jacobian.slogdet().logabsdet)


@pytest.mark.parametrize("core", CORES)
def test_density_is_the_change_of_variables_formula(core):
    eye = partition(core, SHAPE, LATENT)
    y = torch.randn(4, *SHAPE).double()
    latent, deviation, log_det = eye.forward_flow(y)
    shell = deviation.flatten(1) @ shell_basis(eye.split).T  # (N, D - d)
    preprocessing = 12 * math.log(eye.scale)
    expected = log_prior(latent) + log_prior(shell) + log_det + preprocessing
    torch.testing.assert_close(log_density(eye, y), expected)


def grid(points, reach, dims):
    """Cartesian grid over [-reach, reach]^dims and the volume of a cell: (points^dims, dims)."""
    axis = torch.linspace(-reach, reach, points, dtype=torch.float64)
    return torch.cartesian_prod(*[axis] * dims), (axis[1] - axis[0]).item() ** dims


@pytest.mark.parametrize(
    ("core", "shape", "latent_dim", "points"),
    [("dct", (1, 1, 2), 1, 150), ("corner", (1, 1, 2), 1, 150), ("own", (1, 1, 2), 1, 150),
     ("dct", (1, 1, 3), 2, 60), ("own", (3, 1, 1), 1, 60), ("center", (3, 1, 1), 2, 60)],
)  # fmt: skip
@torch.no_grad()
def test_density_of_u_integrates_to_one(core, shape, latent_dim, points):
    eye = partition(core, shape, latent_dim)
    torch.nn.init.constant_(eye.raw_sigma, 0.0)  # sigma .79: no spike between two grid points
    eye.mean.copy_(torch.rand(shape).double())
    u, cell = grid(points, 2.5, math.prod(shape))
    y = eye.scale * (u.view(-1, *shape) - eye.mean)  # preprocessing, written out
    total = log_density(eye, y).exp().sum() * cell
    assert total.item() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("core", CORES)
def test_linear_networks_make_a_gaussian(core):
    eye = partition(core, SHAPE, LATENT)
    with default_dtype(torch.float64):
        eye.encoder = LinearEncoder(
            torch.randn(LATENT, 12), torch.randn(LATENT), torch.tensor([0.3, -0.5, 0.1])
        )
        eye.decoder = LinearDecoder(torch.randn(12, LATENT), torch.randn(12), SHAPE)
    origin = eye.inverse(torch.zeros(1, LATENT).double(), torch.zeros(1, *SHAPE).double())
    basis = shell_basis(eye.split)
    latents = torch.cat([torch.eye(LATENT).double(), torch.zeros(9, LATENT).double()])
    shells = torch.cat([torch.zeros(LATENT, 12).double(), basis]).view(12, *SHAPE)
    columns = (eye.inverse(latents, shells) - origin).flatten(1)  # (D, D), images of the axes
    gaussian = MultivariateNormal(origin.flatten(), columns.T @ columns)
    y = torch.randn(5, *SHAPE).double()
    expected = gaussian.log_prob(y.flatten(1)) + 12 * math.log(eye.scale)
    torch.testing.assert_close(log_density(eye, y), expected)


# -- the linear-Gaussian model of the VAE and the expanded AEF ---------------------------


class Linear:
    """z ~ N(0, I), y = G z + g + sigma noise, columns of G orthogonal: everything is known."""

    def __init__(self):
        torch.manual_seed(3)
        scales = torch.tensor([1.5, 0.8, 0.4]).double()
        self.matrix = torch.linalg.qr(torch.randn(12, LATENT).double()).Q * scales  # (D, d)
        self.offset, self.sigma = torch.randn(12).double(), 0.6
        self.variance = 1 / (1 + scales.square() / self.sigma**2)  # of the posterior, (d,)
        self.gain = self.variance[:, None] * self.matrix.T / self.sigma**2  # (d, D)
        noise = self.sigma**2 * torch.eye(12).double()
        self.marginal = MultivariateNormal(self.offset, self.matrix @ self.matrix.T + noise)
        self.y = self.marginal.sample((6,)).view(6, *SHAPE)

    def log_prob(self, y, scale):
        return self.marginal.log_prob(y.flatten(1)) + 12 * math.log(scale)

    def eye(self, kind, shift=0.0, log_ratio=0.0):
        """An eye whose encoder is the posterior, moved by `shift`, its scale by `log_ratio`."""
        log_scale = self.variance.log() / 2 + log_ratio
        offset = shift - self.gain @ self.offset
        decoder = LinearDecoder(self.matrix, self.offset, SHAPE)
        with default_dtype(torch.float64):
            eye = kind(LinearEncoder(self.gain, offset, log_scale), decoder, SHAPE, LATENT)
        eye.raw_sigma.data.fill_(math.log(math.expm1(self.sigma - eye.sigma_floor)))
        if kind is ExpandedAEF:  # mu_e + sigma_e W y = the posterior's mean
            weight = eye.expansion.weight
            eye.encoder.matrix = self.gain - log_scale.exp()[:, None] * weight.detach()
        return eye

    def kl(self, shift, log_ratio):
        """KL of that encoder to the posterior, nats."""
        std = self.variance.sqrt()
        posterior = torch.distributions.Normal(torch.zeros(LATENT).double(), std)
        moved = torch.distributions.Normal(shift * torch.ones(LATENT).double(),
                                           std * math.exp(log_ratio))  # fmt: skip
        return kl_divergence(moved, posterior).sum().item()


@pytest.mark.parametrize(("shift", "log_ratio"), [(0.0, 0.0), (0.3, 0.0), (-0.2, 0.4)])
@torch.no_grad()
def test_elbo_is_the_log_likelihood_less_the_divergence(shift, log_ratio):
    model = Linear()
    eye = model.eye(VariationalAutoencoder, shift, log_ratio)
    many = model.y.repeat(4000, 1, 1, 1)
    elbo = log_density(eye, many).view(4000, 6)
    error = elbo.std(0) / 4000**0.5
    expected = model.log_prob(model.y, eye.scale) - model.kl(shift, log_ratio)
    assert ((elbo.mean(0) - expected).abs() < 5 * error).all()
    assert model.kl(shift, log_ratio) == 0 or model.kl(shift, log_ratio) > 10 * error.max()


@pytest.mark.parametrize("kind", [VariationalAutoencoder, ExpandedAEF])
@torch.no_grad()
def test_importance_weights_of_the_exact_posterior_have_no_variance(kind):
    model = Linear()
    eye = model.eye(kind)
    for samples in (1, 7):
        found = importance_log_prob(eye, model.y, log_prior, samples)
        torch.testing.assert_close(found, model.log_prob(model.y, eye.scale))


@pytest.mark.parametrize("kind", [VariationalAutoencoder, ExpandedAEF])
@torch.no_grad()
def test_importance_estimate_rises_to_the_log_likelihood(kind):
    model = Linear()
    eye = model.eye(kind, shift=0.5)
    exact = model.log_prob(model.y, eye.scale)
    gaps = []
    for samples in (1, 10, 500):
        many = model.y.repeat(200, 1, 1, 1)
        found = importance_log_prob(eye, many, log_prior, samples, width=1.3, batch=100_000)
        gaps.append((exact - found.view(200, 6)).mean().item())
    assert gaps[0] > 5 * gaps[1] > 0 and abs(gaps[2]) < 0.02 < gaps[1]


@torch.no_grad()
def test_importance_estimate_does_not_depend_on_the_batch():
    model = Linear()
    eye = model.eye(VariationalAutoencoder, shift=0.1)
    found = [
        importance_log_prob(eye, model.y, log_prior, 500, width=1.2, batch=batch)
        for batch in (7, 600, 10**6)
    ]
    for other in found[1:]:
        torch.testing.assert_close(found[0], other, rtol=0, atol=0.1)


@torch.no_grad()
def test_importance_of_a_nonlinear_expansion_agrees_with_quadrature():
    with default_dtype(torch.float64):
        torch.manual_seed(1)
        shape = (1, 1, 2)
        eye = ExpandedAEF(Encoder(shape, 1), Decoder(shape, 1), shape, 1)
        eye.raw_sigma.fill_(0.0)
        y = torch.randn(3, *shape)
        latent, cell = grid(4001, 10.0, 1)
    residual = y[:, None] - eye.decoded(latent[:, None])  # (3, G, 1, 1, 2)
    pixels = eye.gaussian(residual.flatten(0, 1)).view(3, -1)
    integral = (pixels + log_prior(latent[:, None])).logsumexp(1) + math.log(cell)
    found = importance_log_prob(eye, y, log_prior, 40_000, width=2.0)
    torch.testing.assert_close(found, integral + 2 * math.log(eye.scale), rtol=0, atol=0.03)


@torch.no_grad()
def test_expanded_density_is_of_the_pair_and_no_density_of_the_image():
    """log p(y, w = W y) by the definition: change of variables of (y, w) -> (y, z)."""
    model = Linear()
    eye = model.eye(ExpandedAEF, shift=0.2)
    with default_dtype(torch.float64):
        log_scale = model.variance.log().sum() / 2
        mean = (model.y.flatten(1) - model.offset) @ model.gain.T + 0.2
        given = MultivariateNormal(mean @ model.matrix.T + model.offset, 0.36 * torch.eye(12))
        pair = log_prior(mean) + given.log_prob(model.y.flatten(1)) + log_scale
    torch.testing.assert_close(log_density(eye, model.y), pair + 12 * math.log(eye.scale))


def test_importance_refuses_what_it_cannot_do():
    y = torch.zeros(1, *SHAPE).double()
    with pytest.raises(ValueError, match="exact already"):
        importance_log_prob(partition("dct", SHAPE, LATENT), y, log_prior, 3)
    with pytest.raises(ValueError, match="samples=0"):
        importance_log_prob(Linear().eye(VariationalAutoencoder), y, log_prior, 0)


# -- all eyes ----------------------------------------------------------------------------


def frames(count=64, shape=SHAPE):
    return torch.randint(256, (count, *shape), dtype=torch.uint8)


def make(kind, seed=0):
    torch.manual_seed(seed)
    return kind(Encoder(SHAPE, LATENT), Decoder(SHAPE, LATENT), SHAPE, LATENT)


def make_partition(core):
    def build(*parts):
        return PartitionAEF(*parts, core=core)

    return build


EYES = {"dct": make_partition("dct"), "corner": make_partition("corner"),
        "expanded": ExpandedAEF, "vae": VariationalAutoencoder}  # fmt: skip


@pytest.mark.parametrize("name", EYES)
def test_a_frame_has_one_code(name):
    eye, images = make(EYES[name]), frames()
    code = eye.encode(images)
    assert torch.equal(eye.encode(images).latent, code.latent)
    for part in (images[:1], images[5:12]):
        alone = eye.encode(part).latent
        where = 0 if len(part) == 1 else 5
        torch.testing.assert_close(alone, code.latent[where : where + len(part)], rtol=0, atol=1e-5)
    assert not torch.equal(eye.encode(images, dequantise=True).latent, code.latent)


@pytest.mark.parametrize("name", EYES)
def test_gradients_reach_every_parameter(name):
    eye = make(EYES[name])
    code = eye.encode(frames(), dequantise=True)
    (log_prior(code.latent) + code.volume + eye.pixels(code)).mean().backward()
    for parameter, tensor in eye.named_parameters():
        assert tensor.grad is not None and tensor.grad.abs().max() > 0, parameter


@pytest.mark.parametrize("name", EYES)
def test_pixels_of_some_frames_are_those_of_all(name):
    eye = make(EYES[name])
    code = eye.encode(frames(), dequantise=True)
    chosen = torch.tensor([3, 60, 7])
    torch.testing.assert_close(eye.pixels(code, chosen), eye.pixels(code)[chosen])


@pytest.mark.parametrize("name", EYES)
def test_decoding_gives_images_and_preprocessing_inverts(name):
    eye, images = make(EYES[name]), frames()
    eye.set_mean(images)
    y = eye.preprocess(images, dequantise=False)
    torch.testing.assert_close(256 * eye.postprocess(y) - 0.5, images.float(), atol=1e-3, rtol=0)
    decoded = eye.decode(eye.encode(images).latent)
    assert decoded.shape == images.shape and decoded.min() >= 0 and decoded.max() <= 1
    assert y.mean(0).abs().max() < 1e-4  # centred


@pytest.mark.parametrize("name", ["dct", "corner"])
def test_reconstruction_of_a_partition_keeps_the_latent(name):
    """Decoding r = 0 gives an image whose code is the same latent."""
    eye = make(EYES[name]).double()
    latent = torch.randn(5, LATENT).double()
    code = eye.encode_y(eye.reconstruct_y(latent))
    torch.testing.assert_close(code.latent, latent, rtol=0, atol=1e-5)
    torch.testing.assert_close(
        eye.split.shell_square(code.target - eye.decoded(latent)), torch.zeros(5).double()
    )


@pytest.mark.parametrize("name", EYES)
def test_what_is_no_batch_of_frames_is_refused(name):
    eye = make(EYES[name])
    for wrong in (frames().float(), frames()[0], frames(2, (3, 2, 3))):
        with pytest.raises(ValueError, match="expected \\(N, 2, 2, 3\\) uint8"):
            eye.encode(wrong)


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
    eye, images = make(EYES[name]), frames()
    y = eye.preprocess(images, dequantise=True)
    code = eye.encode_y(y, sample=False)
    full = (log_prior(code.latent), code.volume, eye.pixels(code))
    with torch.autocast("cpu", torch.bfloat16):
        code = eye.encode_y(y, sample=False)
        low = (log_prior(code.latent), code.volume, eye.pixels(code))
    for exact, rounded in zip(full, low):
        assert rounded.dtype == torch.float32
        assert not torch.equal(exact, rounded)  # the networks did run in bfloat16
        torch.testing.assert_close(exact, rounded, rtol=0.02, atol=0.12)

"""Still images: one density, whatever it is made of; and what can be done with it."""

import math

import pytest
import torch
from test_autoencoders import grid
from tiny import Decoder, Encoder, default_dtype, shell_basis
from torch import nn

from aef_worldmodel import AE, AEF, VAE
from aef_worldmodel.family import MODELS, make_model
from aef_worldmodel.flows import Flow
from aef_worldmodel.image_model import WIDTHS
from aef_worldmodel.importance import importance_log_prob

SHAPE, LATENT = (1, 2, 3), 2
EXACT = {
    "dct": {"core": "dct"},
    "center, maf core": {"core": "center", "core_flow": "maf"},
    "dct, iaf core, coupling prior": {"core": "dct", "core_flow": "iaf", "prior": "coupling"},
    "corner, dependent": {"core": "corner", "variance": "dependent"},
    "dct, dependent, coupling core": {"core": "dct", "variance": "dependent",
                                      "core_flow": "coupling"},
    "center, fixed, maf prior": {"core": "center", "variance": "fixed", "prior": "maf"},
    "corner, logit, iaf prior": {"core": "corner", "preprocessing": "logit", "prior": "iaf"},
}  # fmt: skip
BOUNDS = {
    "vae": (VAE, {}),
    "vae, iaf posterior": (VAE, {"posterior": "iaf"}),
    "vae, maf posterior and prior": (VAE, {"posterior": "maf", "prior": "maf"}),
    "vae, dependent": (VAE, {"variance": "dependent"}),
    "linear": (AEF, {"core": "linear"}),
    "linear, coupling core, dependent": (AEF, {"core": "linear", "core_flow": "coupling",
                                               "variance": "dependent"}),
}  # fmt: skip


class TwoHeaded(nn.Module):
    """A decoder that also says its raw standard deviation."""

    def __init__(self, shape, latent_dim):
        super().__init__()
        self.parts = nn.ModuleList([Decoder(shape, latent_dim), Decoder(shape, latent_dim)])

    def forward(self, latent):
        return tuple(part(latent) for part in self.parts)


def lively(model, seed=1):
    """Numbers that are zero or alike at the start of training, drawn at random so they count."""
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name.startswith(("prior", "eye.flow")):
            nn.init.normal_(parameter, std=0.1)  # of 64 inputs: about as many as come out
        elif "sigma" in name or "norm" in name:
            nn.init.normal_(parameter, std=0.5)
    return model


def build(constructor, options, shape=SHAPE, latent_dim=LATENT, dtype=torch.float64):
    torch.manual_seed(0)
    options = {"sigma_floor": 0.7} | options
    with default_dtype(dtype):
        decoder = TwoHeaded if options.get("variance") == "dependent" else Decoder
        model = constructor(shape, latent_dim, encoder=Encoder(shape, latent_dim),
                            decoder=decoder(shape, latent_dim), **options)  # fmt: skip
    return lively(model)


def frames(count=16, shape=SHAPE, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, *shape), dtype=torch.uint8, generator=generator)


def log_density_of_u(model, u):
    """log p(u) of real numbers u (N, C, H, W), nats (N,)."""
    eye = model.eye
    y = eye.scale * (u - eye.mean) if eye.bijection is None else eye.bijection(u)
    return model._sum(y, y)


# -- exact densities ---------------------------------------------------------------------


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 5e-4), (torch.float64, 1e-11)])
def test_sampling_and_encoding_invert_each_other(name, dtype, error):
    model = build(AEF, EXACT[name], dtype=dtype)
    eye, close = model.eye, {"rtol": 0, "atol": error}
    noise = torch.randn(6, LATENT, dtype=dtype)
    r = eye.split.shell_of(torch.randn(6, *SHAPE, dtype=dtype))
    y = eye.inverse(model.from_noise(noise), r)  # what `sample` does
    latent, deviation, _ = eye.forward_flow(y)
    torch.testing.assert_close(model.to_noise(latent), noise, **close)
    torch.testing.assert_close(deviation, r, **close)
    torch.testing.assert_close(eye.inverse(latent, deviation), y, **close)


@pytest.mark.parametrize("name", EXACT)
def test_log_prob_is_the_change_of_variables_formula(name):
    """log N(z0) + log N(r) + log|det d(z0, r)/du| with autograd's determinant."""
    model = build(AEF, EXACT[name])
    eye, basis = model.eye, shell_basis(model.eye.split)
    u = torch.rand(2, *SHAPE).double()

    def coordinates(flat):
        image = flat.view(1, *SHAPE)
        y = eye.scale * (image - eye.mean) if eye.bijection is None else eye.bijection(image)
        latent, deviation, _ = eye.forward_flow(y)
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
    if model.eye.bijection is None:
        total = log_density_of_u(model, points.view(-1, *shape)).exp().sum() * cell
    else:  # all of its mass lies within the image of the line, wider than [0, 1]
        points, cell = points * 6, cell * 36
        y = points.view(-1, *shape)
        nats = model._sum(y, y) - model.eye.preprocessing_log_det(y)
        total = nats.exp().sum() * cell
    assert total.item() == pytest.approx(1, abs=2e-3)


def test_log_prob_of_frames_is_that_of_their_dequantised_values():
    """Over noise, log p of integer images has the mean of log p(u) over their cells."""
    model, images = build(AEF, EXACT["corner, dependent"]), frames(3)
    many = images.repeat(400, 1, 1, 1)
    torch.manual_seed(0)
    found = model.log_prob(many).view(400, 3)
    u = (images + torch.rand(400, 3, *SHAPE).double()) / 256
    expected = log_density_of_u(model, u.flatten(0, 1)).view(400, 3)
    error = (found.std(0) + expected.std(0)) / 20
    assert ((found.mean(0) - expected.mean(0)).abs() < 4 * error).all() and (error > 0).all()
    bits = model.bits_per_dim(many).view(400, 3).mean(0)
    torch.testing.assert_close(bits, 8 - found.mean(0) / (6 * math.log(2)), rtol=0, atol=0.02)


# -- bounds ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BOUNDS)
@torch.no_grad()
def test_importance_estimate_agrees_with_quadrature(name):
    """Integrates p(z) p(y | z) over a one-dimensional latent, whatever q is."""
    constructor, options = BOUNDS[name]
    shape = (1, 1, 2)
    model = build(constructor, options, shape, 1)
    y = torch.randn(3, *shape).double()
    latent, cell = grid(3001, 9.0, 1)
    pixels = model.eye.explained(latent.view(-1, 1).repeat(3, 1),
                                 y.repeat_interleave(3001, 0)).view(3, -1)  # fmt: skip
    integral = (pixels + model.log_prior(latent.view(-1, 1))).logsumexp(1) + math.log(cell)
    expected = integral + model.eye.preprocessing_log_det(y)
    found = importance_log_prob(model.eye, y, model.log_prior, 20_000, width=1.5)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.06)
    once = y.repeat(300, 1, 1, 1)  # and one sample gives a bound from below
    bound = model._sum(once, once).view(300, 3) if constructor is VAE else None
    if bound is not None:
        assert (bound.mean(0) < expected + 4 * bound.std(0) / 300**0.5).all()


@torch.no_grad()
def test_more_samples_make_the_objective_tighter():
    images = frames(4).repeat(200, 1, 1, 1)
    objective = {}
    for samples in (1, 2, 16):
        model = build(VAE, {"samples": samples})
        objective[samples] = model.objective(images).mean().item()
    assert objective[1] < objective[2] < objective[16]
    exact = build(VAE, {}).log_prob(frames(4), samples=4000).mean().item()
    assert objective[16] < exact + 0.1


@torch.no_grad()
def test_fitted_width_is_the_best_of_those_tried():
    torch.manual_seed(0)
    model, images = build(AEF, {"core": "linear"}), frames(64)
    assert model.width == 1
    chosen = model.fit_width(images, samples=8)
    assert chosen == model.width.item() and chosen in torch.tensor(WIDTHS).double()
    y = model.eye.preprocess(images, dequantise=True)
    bounds = [importance_log_prob(model.eye, y, model.log_prior, 8, width=w).mean().item()
              for w in (0.1, chosen, 2.0)]  # fmt: skip
    assert bounds[1] >= max(bounds) - 0.05


# -- denoising ---------------------------------------------------------------------------


def test_denoising_objective_is_the_density_of_noisy_core_and_clean_shell():
    """Given the noise n on y, (c + n_c, s) -> (z0, r) is one to one."""
    model = build(AEF, {"core": "center", "prior": "maf", "noise": 0.5})
    eye, basis = model.eye, shell_basis(model.eye.split)
    y, noise = torch.randn(2, 1, *SHAPE).double()
    core, shell = eye.split.split(y)
    noisy_core = core + eye.split.split(noise)[0]

    def coordinates(flat):
        shell = (flat[LATENT:] @ basis).view(1, *SHAPE)
        seen = eye.split.merge(flat[None, :LATENT], shell + eye.split.shell_of(noise))
        latent = eye.encode_y(seen).latent
        mean, sigma = eye.distribution(latent)
        deviation = basis @ (eye.split.shell_of(shell - mean) / sigma).flatten()
        return torch.cat([model.to_noise(latent)[0], deviation])

    point = torch.cat([noisy_core[0], basis @ shell.flatten()])
    jacobian = torch.autograd.functional.jacobian(coordinates, point)
    normal = -0.5 * coordinates(point).square().sum() - 3 * math.log(2 * math.pi)
    expected = normal + jacobian.slogdet().logabsdet + eye.preprocessing_log_det(y)
    torch.testing.assert_close(model._sum(y, y + noise)[0], expected)


@pytest.mark.parametrize("constructor", [AE, AEF, VAE])
def test_the_encoder_of_a_denoising_model_sees_noise_and_the_decoder_clean_images(constructor):
    model, seen, explained = build(constructor, {"noise": 0.8}), [], []
    model.eye.encoder.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    plain = model.eye.explained
    model.eye.explained = lambda latent, target: explained.append(target) or plain(latent, target)
    torch.manual_seed(3)
    model.objective(frames(300))
    torch.manual_seed(3)
    y = model.eye.preprocess(frames(300), dequantise=True)
    torch.testing.assert_close(explained[0], model.eye.target(y))
    difference = seen[0] - model.eye.target(y)
    kept = difference[:, model.eye.split.mask.bool()] if constructor is AEF and hasattr(
        model.eye.split, "mask") else difference  # fmt: skip
    assert kept.std().item() == pytest.approx(0.8, abs=0.15)


# -- what can be done with a model -------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("preprocessing", ["affine", "logit"])
def test_gradients_reach_every_parameter(name, preprocessing):
    torch.manual_seed(0)
    shape, extra = (3, 4, 4), {} if name == "ae" else {"prior": "coupling"}
    model = make_model(name, shape, 3, networks="conv", width=4, preprocessing=preprocessing,
                       variance="dependent", **extra)  # fmt: skip
    model.initialise(frames(32, shape))
    model.loss(frames(32, shape)).backward()
    unused = {"eye.encoder.out.weight", "eye.encoder.out.bias"} if name == "ae" else set()
    for parameter, tensor in model.named_parameters():
        assert tensor.grad is not None, parameter
        assert (tensor.grad.abs().max() > 0) or parameter in unused, parameter


@pytest.mark.parametrize("options", [{"core": "dct"}, {"core": "corner"}, {"core": "linear"}])
def test_the_decoder_starts_with_the_spread_of_what_it_must_explain(options):
    model, images = build(AEF, options | {"sigma_floor": 0.01}), frames(200)
    model.initialise(images)
    y = model.eye.preprocess(images, dequantise=False)
    spread = model.eye.target(y).square().mean().sqrt()
    torch.testing.assert_close(model.eye.sigma.mean(), spread, rtol=0.02, atol=0)
    assert model.eye.sigma.max() - model.eye.sigma.min() < 1e-9
    sizes = [sum(p.numel() for p in group["params"]) for group in model.groups(1e-3)]
    assert sum(sizes) == sum(p.numel() for p in model.parameters())
    assert sizes[1] == model.eye.raw_sigma.numel()
    assert len(AE((1, 8, 8), 2, width=4, variance="fixed").groups(1.0)) == 1


@pytest.mark.parametrize("name", MODELS)
def test_learning_lowers_the_loss(name):
    torch.manual_seed(0)
    shape = (1, 4, 4)
    data = frames(64, (1, 1, 1)).expand(-1, -1, 4, 4).contiguous()  # one number an image
    model = make_model(name, shape, 2, networks="conv", width=4)
    model.initialise(data)
    optimiser = torch.optim.Adam(model.groups(1e-2))
    losses = []
    for _ in range(60):
        loss = model.loss(data)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1


@pytest.mark.parametrize("name", MODELS)
def test_images_in_and_out(name):
    model, images = make_model(name, (3, 8, 8), 3, width=4), frames(5, (3, 8, 8))
    model.initialise(images)
    latent = model.encode(images)
    assert latent.shape == (5, 3) and torch.equal(latent, model.encode(images))
    assert torch.equal(model.reconstruct(images), model.decode(latent))
    way = model.interpolate(images[:2], images[2:4], steps=4)
    assert way.shape == (2, 4, 3, 8, 8)
    torch.testing.assert_close(way[:, 0], model.reconstruct(images[:2]), rtol=0, atol=1e-5)
    torch.testing.assert_close(way[:, -1], model.reconstruct(images[2:4]), rtol=0, atol=1e-5)
    if name == "ae":
        return
    warm, cold = model.sample(6), model.sample(6, temperature=0.0)
    assert warm.shape == (6, 3, 8, 8) and warm.min() >= 0 and warm.max() <= 1
    assert (cold - cold[0]).abs().max() < 1e-6 < (warm - warm[0]).abs().max()
    assert not torch.equal(model.sample(6, temperature=0.0, deviation=1.0), cold)
    bits = model.bits_per_dim(images)
    assert bits.shape == (5,) and bits.isfinite().all()
    kind = "exact" if name.startswith("aef") and name != "aef-linear" else "bound"
    assert model.likelihood == kind


@torch.no_grad()
def test_samples_have_the_temperature_asked_for():
    """Latents of samples, encoded again, spread as the temperature says."""
    model = build(AEF, {"core": "dct", "prior": "maf"})
    for temperature in (0.5, 1.0):
        torch.manual_seed(0)
        noise = temperature * torch.randn(500, LATENT).double()
        image = model.eye.reconstruct_y(model.from_noise(noise))
        back = model.to_noise(model.eye.encode_y(image).latent)
        assert back.std().item() == pytest.approx(temperature, rel=0.1)


@pytest.mark.parametrize(("networks", "shape"), [("conv", (1, 28, 28)), ("conv", (3, 32, 32)),
                                                 ("residual", (3, 64, 64)), ("patch", (3, 32, 32)),
                                                 ("residual", (1, 48, 32)), (None, (1, 28, 28)),
                                                 (None, (3, 64, 64))])  # fmt: skip
def test_networks_fit_their_images(networks, shape):
    model = AEF(shape, 4, networks=networks, width=8)
    image = model.reconstruct(frames(2, shape))
    assert image.shape == (2, *shape)


def test_siblings_have_equal_networks():
    counts = {
        name: sum(p.numel() for part in (m.eye.encoder, m.eye.decoder) for p in part.parameters())
        for name in MODELS for m in (make_model(name, (1, 8, 8), 3, width=4),)
    }  # fmt: skip
    assert len(set(counts.values())) == 1


def test_a_conditional_prior_is_read_with_its_context():
    """As the recurrent model would use one: p(z_t | h_t) over (B, T)."""
    torch.manual_seed(0)
    prior = Flow("coupling", 4, context=8)
    latents, states = torch.randn(2, 5, 4), torch.randn(2, 5, 8)
    noise, log_det = prior(latents, states)
    assert noise.shape == (2, 5, 4) and log_det.shape == (2, 5)
    torch.testing.assert_close(prior.inverse(noise, states)[0], latents, rtol=0, atol=1e-5)


REFUSED = {
    "unknown core 'dtc'; choose one of dct, center, corner, linear": lambda: AEF(
        (1, 8, 8), 2, core="dtc"),
    "unknown model 'aef'": lambda: make_model("aef", (1, 8, 8), 2),
    "unknown networks 'cnn'": lambda: AEF((1, 8, 8), 2, networks="cnn"),
    "unknown preprocessing 'log'": lambda: VAE((1, 8, 8), 2, preprocessing="log"),
    "unknown variance 'free'": lambda: VAE((1, 8, 8), 2, variance="free"),
    "sigma_floor=0 of a fixed variance must be above 0": lambda: VAE(
        (1, 8, 8), 2, variance="fixed", sigma_floor=0),
    "unknown flow 'nsf'": lambda: AEF((1, 8, 8), 2, prior="nsf"),
    "give both encoder and decoder": lambda: AEF((1, 8, 8), 2, encoder=nn.Identity()),
    "an expansion needs core='linear'": lambda: AEF((1, 8, 8), 2, expansion=nn.Identity()),
    "7x7 pixels; the conv networks need sides that are multiples of 4": lambda: AEF((1, 7, 7), 2),
    "multiples of 16": lambda: AEF((1, 28, 28), 2, networks="residual"),
    "samples=0": lambda: VAE((1, 8, 8), 2, samples=0),
    "samples=4 is for a VAE or an expanded AEF without noise": lambda: VAE(
        (1, 8, 8), 2, samples=4, noise=0.1),
    "no prior to sample from": lambda: AE((1, 8, 8), 2, width=4).sample(1),
    "has no likelihood": lambda: AE((1, 8, 8), 2, width=4).log_prob(frames(1, (1, 8, 8))),
    "is exact, leave them out": lambda: AEF((1, 8, 8), 2, width=4).log_prob(
        frames(1, (1, 8, 8)), samples=3),
    "expected \\(N, 1, 8, 8\\) uint8": lambda: AEF((1, 8, 8), 2, width=4).encode(
        torch.zeros(1, 1, 8, 8)),
}  # fmt: skip


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_makes_no_model_is_refused(sentence):
    with pytest.raises(ValueError, match=sentence):
        REFUSED[sentence]()

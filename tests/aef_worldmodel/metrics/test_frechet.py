"""Frechet distance against closed forms and SciPy; sensitivity of the built-in features."""

import itertools

import numpy as np
import pytest
import scipy.linalg
import torch

from aef_worldmodel.data.datasets import load_images
from aef_worldmodel.metrics.frechet import Frechet, RandomFeatures, frechet_distance, moments, root
from aef_worldmodel.metrics.inception import InceptionFeatures, load_features
from aef_worldmodel.utils.errors import UserError
from benchmarks.frechet import STEPS, spoil


def spread(size, rank=None, seed=0):
    """A random covariance (F, F) of a given rank."""
    factor = np.random.RandomState(seed).standard_normal((size, rank or size))
    return torch.from_numpy(factor @ factor.T / size)


def test_of_a_gaussian_with_itself_it_is_zero():
    mean, cov = torch.randn(6), spread(6)
    assert frechet_distance(mean, cov, mean, cov) == pytest.approx(0, abs=1e-12)


def test_of_diagonal_gaussians():
    mean1, mean2 = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.0, 1.0, 0.5])
    std1, std2 = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 2.0, 0.0])
    want = (mean1 - mean2).square().sum() + (std1 - std2).square().sum()
    got = frechet_distance(mean1, std1.square().diag(), mean2, std2.square().diag())
    assert got == pytest.approx(want.item(), rel=1e-9)


def test_turning_and_shifting_both_changes_nothing():
    mean1, mean2, cov1, cov2 = torch.zeros(5), torch.ones(5), spread(5), spread(5, seed=1)
    turn = torch.linalg.qr(spread(5, seed=2)).Q
    turned = (turn @ cov1 @ turn.T, turn @ cov2 @ turn.T)
    want = frechet_distance(mean1, cov1, mean2, cov2)
    got = frechet_distance(mean1.double(), turned[0], turn @ mean2.double(), turned[1])
    assert got == pytest.approx(want, rel=1e-9)
    assert frechet_distance(mean2, cov2, mean1, cov1) == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize("rank", [None, 3])
def test_against_scipys_sqrtm(rank):
    cov1, cov2 = spread(8), spread(8, rank, seed=1)
    eps = 0 if rank is None else 1e-10 * np.eye(8)  # sqrtm needs full rank, ours does not
    cross = scipy.linalg.sqrtm(cov1.numpy() @ (cov2.numpy() + eps))
    want = 1 + np.trace(cov1.numpy() + cov2.numpy() - 2 * cross.real)
    mean = torch.zeros(8)
    got = frechet_distance(mean, cov1, torch.eye(8)[0], cov2)
    assert got == pytest.approx(want, rel=1e-8 if rank is None else 1e-3)


def test_a_small_distance_between_large_variances_is_not_lost():
    """Variances 1e8, standard deviations 1e-3 apart: 1e-6 of distance beside 2e8 of traces is
    below float64's reach by squares, and zero is reported rather than a negative number."""
    cov = torch.full((1, 1), 1e8, dtype=torch.float64)
    near = torch.full((1, 1), (1e4 + 1e-3) ** 2, dtype=torch.float64)
    assert 0 <= frechet_distance(torch.zeros(1), cov, torch.zeros(1), near) < 1e-5


def test_root_and_moments():
    cov = spread(7, rank=4)
    assert torch.allclose(root(cov) @ root(cov), cov, atol=1e-10)
    rows = torch.randn(50, 7)
    mean, cov = moments(rows)
    assert torch.allclose(cov, torch.from_numpy(np.cov(rows.double().numpy().T)))
    assert torch.allclose(mean, rows.double().mean(0))


def test_small_samples_are_further_apart():
    """The bias the docs warn of: 32 images of one distribution, against 500."""
    rows = torch.randn(2000, 20, generator=torch.Generator().manual_seed(0))
    far = frechet_distance(*moments(rows[:32]), *moments(rows[32:64]))
    near = frechet_distance(*moments(rows[:500]), *moments(rows[500:1000]))
    assert far > 4 * near


# -- features ----------------------------------------------------------------------------


def test_random_features_never_change():
    weights = RandomFeatures().weights
    assert [tuple(w.shape) for w in weights] == [(8, 3, 3, 3), (16, 8, 3, 3), (32, 16, 3, 3)]
    assert weights[0].mean((1, 2, 3)).abs().max() < 1e-7
    steps = weights[0][0].flatten().diff()[:2].tolist()  # of the first two draws of the stream
    assert steps == pytest.approx([0.27217 * (0.40016 - 1.76405), 0.27217 * 0.57858], abs=1e-4)
    features = RandomFeatures()(torch.arange(3 * 28 * 28).view(1, 3, 28, 28).byte())
    assert features.shape == (1, 4 * (8 + 16 + 32))


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 33, 64)])
def test_random_features_take_any_size(shape):
    images = torch.randint(0, 256, (5, *shape)).byte()
    features = RandomFeatures()(images)
    assert features.shape == (5, 224) and features.isfinite().all()
    assert torch.allclose(RandomFeatures()(images[2:3]), features[2:3], atol=1e-5)


@pytest.mark.parametrize("kind", STEPS)
def test_the_distance_rises_with_every_step_of_every_damage(kind):
    data = load_images("digits")
    reference = torch.cat([data.validation, data.test])
    distance = Frechet(reference)
    assert distance.name == "Frechet distance in random convolutional features"
    images = data.train[: len(reference)]
    values = [distance(images)]
    steps = STEPS[kind][2:] if kind == "light" else STEPS[kind]  # 4 and 8 levels are not seen
    values += [distance(spoil(kind, step, images, data.train)) for step in steps]
    assert all(a < b for a, b in itertools.pairwise(values)), values


def test_batches_do_not_matter():
    images = load_images("digits").test
    assert Frechet(images, batch=7)(images[:90]) == pytest.approx(Frechet(images)(images[:90]))


def test_own_features():
    class Mean:
        name = "Frechet distance in mean grey"

        def __call__(self, images):
            return images.float().mean((1, 2, 3))[:, None]

    dark, light = (torch.full((9, 1, 8, 8), level).byte() for level in (10, 30))
    distance = Frechet(dark, Mean())
    assert distance(light) == pytest.approx(400) and distance.name == Mean.name


def test_too_few_images_and_bad_features():
    images = torch.zeros(9, 1, 8, 8).byte()
    with pytest.raises(ValueError, match="at least 2"):
        Frechet(images[:1])
    with pytest.raises(ValueError, match="not finite"):
        moments(torch.full((4, 2), torch.nan))


# -- extractors from files ---------------------------------------------------------------


def little_inception():
    """Inception with two channels a layer and random weights."""
    random, weights = torch.Generator().manual_seed(0), {}

    def conv(name, inputs, kernel):
        weights[f"{name}.conv.weight"] = torch.randn(2, inputs, *kernel, generator=random)
        for part in ("running_mean", "weight", "bias"):
            weights[f"{name}.bn.{part}"] = torch.randn(2, generator=random)
        weights[f"{name}.bn.running_var"] = torch.rand(2, generator=random) + 0.5

    def chain(name, inputs, *kernels, start=1):
        for i, kernel in enumerate(kernels):
            conv(f"{name}_{i + start}", 2 if i else inputs, kernel)

    square, point, wide, tall = (3, 3), (1, 1), (1, 7), (7, 1)
    for i, (name, kernel) in enumerate(
        [
            ("1a_3x3", square),
            ("2a_3x3", square),
            ("2b_3x3", square),
            ("3b_1x1", point),
            ("4a_3x3", square),
        ]
    ):
        conv(f"Conv2d_{name}", 2 if i else 3, kernel)
    for name, inputs in (("5b", 2), ("5c", 8), ("5d", 8)):
        conv(f"Mixed_{name}.branch1x1", inputs, point)
        chain(f"Mixed_{name}.branch5x5", inputs, point, (5, 5))
        chain(f"Mixed_{name}.branch3x3dbl", inputs, point, square, square)
        conv(f"Mixed_{name}.branch_pool", inputs, point)
    conv("Mixed_6a.branch3x3", 8, square)
    chain("Mixed_6a.branch3x3dbl", 8, point, square, square)
    for name, inputs in (("6b", 12), ("6c", 8), ("6d", 8), ("6e", 8)):
        conv(f"Mixed_{name}.branch1x1", inputs, point)
        chain(f"Mixed_{name}.branch7x7", inputs, point, wide, tall)
        chain(f"Mixed_{name}.branch7x7dbl", inputs, point, tall, wide, tall, wide)
        conv(f"Mixed_{name}.branch_pool", inputs, point)
    chain("Mixed_7a.branch3x3", 8, point, square)
    chain("Mixed_7a.branch7x7x3", 8, point, wide, tall, square)
    for name in ("7b", "7c"):
        conv(f"Mixed_{name}.branch1x1", 12, point)
        conv(f"Mixed_{name}.branch3x3_1", 12, point)
        chain(f"Mixed_{name}.branch3x3dbl", 12, point, square)
        for part in ("branch3x3_2", "branch3x3dbl_3"):
            conv(f"Mixed_{name}.{part}a", 2, (1, 3))
            conv(f"Mixed_{name}.{part}b", 2, (3, 1))
        conv(f"Mixed_{name}.branch_pool", 12, point)
    return weights


def test_inceptions_weights_by_path(tmp_path):
    weights = little_inception()
    torch.save(weights, tmp_path / "inception.pth")
    features, images = load_features(tmp_path / "inception.pth"), load_images("digits").test[:3]
    assert features.name == "FID"
    assert torch.equal(features(images), InceptionFeatures(weights)(images))
    assert features(images).shape == (3, 12)
    for name in list(weights):  # every weight matters, also the last block's forks and pooling
        if name.endswith("conv.weight") and name.startswith(("Conv2d_1a", "Mixed_7c")):
            changed = InceptionFeatures(weights | {name: 2 * weights[name]})
            assert not torch.equal(changed(images), features(images))


def test_weights_that_are_not_inceptions(tmp_path):
    weights = little_inception()
    del weights["Mixed_6c.branch7x7_2.conv.weight"]
    torch.save(weights, tmp_path / "other.pth")
    with pytest.raises(UserError, match=r"Mixed_6c\.branch7x7_2.*pytorch-fid"):
        load_features(tmp_path / "other.pth")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(UserError, match="neither TorchScript nor"):
        load_features(tmp_path / "text.pt")
    with pytest.raises(UserError, match="does not exist: give a TorchScript file"):
        load_features(tmp_path / "nothing.pt")


class Scripted(torch.nn.Module):
    """As the file of StyleGAN's authors: features only when asked for."""

    def forward(self, images, return_features: bool = False):
        mean = images.float().mean((2, 3))
        return mean if return_features else mean.sum(1)


class ScriptedPlain(torch.nn.Module):
    def forward(self, images):
        return images.float().mean((1, 2, 3))


def test_torchscript_by_path(tmp_path):
    torch.jit.script(Scripted()).save(str(tmp_path / "net.pt"))
    features, images = load_features(tmp_path / "net.pt"), load_images("digits").test[:3]
    assert features.name == "Frechet distance in features of net.pt"
    assert torch.allclose(features(images), images.float().mean((1, 2, 3))[:, None].expand(3, 3))
    torch.jit.script(ScriptedPlain()).save(str(tmp_path / "plain.pt"))
    with pytest.raises(ValueError, match=r"shape \(3,\); expected \(3, F\)"):
        load_features(tmp_path / "plain.pt")(images)

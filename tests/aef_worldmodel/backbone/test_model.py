"""The backbone computes what its autoencoder does, in every form that others run it in."""

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from aef_worldmodel import AEFBackbone
from aef_worldmodel.nn.distributions import standard_normal_log_prob

SETTINGS = {"model": "aef-dct", "latent_dim": 6, "width": 8, "sigma_floor": 0.1}


def make(networks="patch", shape=(3, 32, 32), **more):
    torch.manual_seed(0)
    return AEFBackbone(shape, SETTINGS | {"networks": networks} | more).eval()


def images(count=5, side=32):
    smooth = F.interpolate(torch.rand(count, 3, 4, 4), (side, side), mode="bilinear")
    return (smooth * 255).round().byte()


@pytest.fixture(scope="module")
def backbone():
    made = make()
    made.model.initialise(images(64))
    return made


# -- images ------------------------------------------------------------------------------


def test_latents_are_those_of_the_autoencoder_for_bytes_floats_and_sequences(backbone):
    x = images()
    z = backbone(x)
    assert z.shape == (5, 6) and torch.equal(z, backbone.autoencoder(x))
    torch.testing.assert_close(backbone(x.float() / 255), z)
    assert torch.equal(backbone(x[None]), z[None])
    assert torch.equal(backbone(x[:4].unflatten(0, (2, 2))), z[:4].unflatten(0, (2, 2)))


def test_another_size_is_resized_bilinearly_with_antialiasing(backbone):
    x = images(3, 80)
    small = F.interpolate(x.float() / 255, (32, 32), mode="bilinear", antialias=True)
    torch.testing.assert_close(backbone(x), backbone(small), atol=1e-5, rtol=1e-5)
    assert backbone.log_prob(images(2, 17)).shape == (2,)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (torch.zeros(4, 32, 32, 3, dtype=torch.uint8), r"channels are last: give images.movedim"),
        (torch.zeros(3, 32, 32, dtype=torch.uint8), r"for one image give images\[None\]"),
        (torch.zeros(4, 1, 32, 32), r"expected \(N, 3, H, W\) or \(N, T, 3, H, W\)"),
        (torch.full((2, 3, 32, 32), 255.0), r"values from 255 to 255: expected \[0, 1\]"),
        (torch.full((2, 3, 32, 32), -0.5), r"values from -0.5"),
        (torch.full((2, 3, 32, 32), float("nan")), r"values from nan"),
        (torch.zeros(2, 3, 32, 32, dtype=torch.int64), "torch.int64: give uint8, or floats"),
    ],
)
def test_images_of_another_layout_or_range_are_refused_in_a_sentence(backbone, wrong, sentence):
    for method in (backbone, backbone.features, backbone.feature_maps, backbone.log_prob):
        with pytest.raises(ValueError, match=sentence):
            method(wrong)


# -- features ----------------------------------------------------------------------------


@pytest.mark.parametrize("networks", ["patch", "pyramid", "conv", "residual"])
def test_features_and_maps_have_the_sizes_that_they_say(networks):
    backbone, x = make(networks), images(2)
    assert backbone.features(x).shape == (2, backbone.num_features)
    assert torch.equal(backbone.features(x)[:, -6:], backbone(x))
    maps = backbone.feature_maps(x)
    assert len(maps) == len(backbone.feature_info) >= 2
    for found, info in zip(maps, backbone.feature_info, strict=True):
        stride = info["reduction"]
        assert found.shape == (2, info["num_chs"], 32 // stride, 32 // stride)
    assert torch.equal(backbone.forward_features(x), maps[-1])


def test_maps_lie_where_a_convolution_would_put_them(backbone):
    """The patch encoder's products are convolutions of stride 4, 2 and 2."""
    x, encoder = images(2), backbone.autoencoder.encoder
    seen = backbone.autoencoder.target(backbone.preprocess(x))
    stem = F.relu(F.conv2d(seen, encoder.stem.weight.view(8, 3, 4, 4), encoder.stem.bias, stride=4))
    found = backbone.feature_maps(x)
    torch.testing.assert_close(found[0], stem, atol=1e-5, rtol=1e-4)
    joined = encoder.middle.weight.view(16, 2, 2, 8).permute(0, 3, 1, 2)
    middle = F.relu(F.conv2d(stem, joined, encoder.middle.bias, stride=2))
    torch.testing.assert_close(found[1], middle, atol=1e-5, rtol=1e-4)
    joined = encoder.top.weight.view(16, 2, 2, 16).permute(0, 3, 1, 2)
    top = F.relu(F.conv2d(middle, joined, encoder.top.bias, stride=2))
    torch.testing.assert_close(found[2], top, atol=1e-5, rtol=1e-4)


# -- likelihood --------------------------------------------------------------------------


def test_log_prob_is_the_change_of_variables_of_autograd():
    """Against the Jacobian of the whole flow, whose log-determinant nothing here computes."""
    made = make("conv", (3, 4, 4), latent_dim=2, model="aef-center").double()
    x = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    model = made.autoencoder

    def flow(u):
        z, r, _ = model.forward_flow(model.scale * (u.view(1, 3, 4, 4) - model.mean))
        shell = r.flatten()[model.split.mask.flatten() == 1]
        return torch.cat([z.flatten(), shell])

    for one, log_prob in zip(x, made.log_prob(x), strict=True):
        u = ((one.double() + 0.5) / 256).flatten()
        jacobian = torch.autograd.functional.jacobian(flow, u)
        noise = standard_normal_log_prob(flow(u)).sum()
        torch.testing.assert_close(log_prob, noise + torch.linalg.slogdet(jacobian)[1])


def test_log_prob_repeats_and_bits_draw_noise(backbone):
    x = images()
    assert torch.equal(backbone.log_prob(x), backbone.log_prob(x))
    assert not torch.equal(backbone.bits_per_dim(x), backbone.bits_per_dim(x))
    bits = 8 - backbone.log_prob(x) / (3 * 32 * 32 * np.log(2))
    torch.testing.assert_close(backbone.bits_per_dim(x, dequantise=False), bits)
    assert backbone.log_prob(x[None]).shape == (1, 5)


# -- training and running ----------------------------------------------------------------


def test_frozen_it_learns_nothing_and_its_groups_train_the_encoder_alone():
    backbone, x = make(), images()
    assert not backbone.freeze()(x).requires_grad
    backbone.requires_grad_(True)
    groups = backbone.parameter_groups(1e-2, layer_decay=0.5)
    assert [group["lr"] for group in groups] == [1e-2 * 0.5**i for i in range(5)]
    before = copy.deepcopy(backbone.autoencoder.state_dict())
    optimiser = torch.optim.SGD(groups)
    backbone(x).square().sum().backward()
    optimiser.step()
    changed = {n for n, w in backbone.autoencoder.state_dict().items() if (w != before[n]).any()}
    names = {n.split(".")[1] for n in changed}
    assert all(n.startswith("encoder.") for n in changed)
    assert names == {"stem", "middle", "top", "dense", "out"}


def test_no_grad_autocast_and_data_parallel_change_nothing_or_little(backbone):
    x = images()
    z = backbone(x)
    with torch.no_grad():
        assert torch.equal(backbone(x), z)
    assert torch.equal(torch.nn.DataParallel(backbone)(x), z)
    with torch.autocast("cpu", torch.bfloat16):
        low = backbone(x)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, z, atol=0.05, rtol=0.05)


def test_compiled_as_one_graph_it_gives_the_same(backbone):
    x = images()
    compiled = torch.compile(backbone, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), backbone(x), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_torch_export_takes_any_batch(backbone):
    batch = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(
        backbone.deployed(), (torch.rand(2, 3, 32, 32),), dynamic_shapes=batch
    )
    for count in (1, 7):
        x = images(count).float() / 255
        latent, features = program.module()(x)
        torch.testing.assert_close(latent, backbone(x), atol=1e-5, rtol=0)
        torch.testing.assert_close(features, backbone.features(x), atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("networks", ["patch", "conv"])
def test_onnx_gives_the_same_within_1e_5_for_any_batch(tmp_path, networks):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    backbone = make(networks)
    backbone.export_onnx(tmp_path / "b.onnx")
    session = runtime.InferenceSession(str(tmp_path / "b.onnx"))
    for count in (1, 7):
        x = images(count).float() / 255
        latent, features = session.run(None, {"images": x.numpy()})
        np.testing.assert_allclose(latent, backbone(x).detach(), atol=1e-5)
        np.testing.assert_allclose(features, backbone.features(x).detach(), atol=1e-5)

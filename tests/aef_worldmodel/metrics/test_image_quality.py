"""PSNR, SSIM and sharpness against values known otherwise."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from aef_worldmodel.metrics.image_quality import (
    gradient_energy,
    high_frequency_power,
    psnr,
    sharpness,
    ssim,
    to_uint8,
)
from aef_worldmodel.nn.dct import dct_matrix


def images(count=3, channels=2, side=24, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, channels, side, side + 3), generator=generator).byte()


def flat(level, side=16):
    return torch.full((1, 1, side, side), level, dtype=torch.uint8)


def blurred(x, width):
    out = ndimage.gaussian_filter(x.numpy().astype(float), (0, 0, width, width))
    return torch.from_numpy(out).round().byte()


def test_every_level_comes_back():
    levels = torch.arange(256)
    for noise in (0.0, 0.5, 0.99):
        assert torch.equal(to_uint8((levels + noise) / 256), levels.byte())
    assert to_uint8(torch.tensor([-0.1, 1.0, 1.1])).tolist() == [0, 255, 255]


def test_psnr():
    assert psnr(flat(110), flat(100)).item() == pytest.approx(20 * math.log10(255 / 10))
    assert psnr(flat(0), flat(255)).item() == pytest.approx(0)
    assert psnr(flat(7), flat(7)).item() == 100


def test_psnr_of_floats_over_any_leading_axes():
    image = torch.rand(2, 4, 3, 8, 8) * 0.5
    torch.testing.assert_close(
        psnr(image + 0.1, image), torch.full((2, 4), 20.0), rtol=0, atol=1e-3
    )


def test_masked_psnr_looks_behind_the_mask_only():
    truth, mask = torch.rand(2, 3, 4, 4), torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    mask[0, 0, 1:3] = True
    image = truth + torch.where(mask, 0.1, 0.7)
    score = psnr(image, truth, mask)
    assert score[0].item() == pytest.approx(20, abs=1e-3) and score[1].isnan()


def test_ssim_of_flat_images():
    a, b, c1 = 60.0, 180.0, (0.01 * 255) ** 2
    want = (2 * a * b + c1) / (a * a + b * b + c1)  # structure is 1: no variance
    assert ssim(flat(60), flat(180)).item() == pytest.approx(want, rel=1e-9)
    assert ssim(images(), images()).tolist() == pytest.approx([1, 1, 1])


def test_ssim_of_a_negative_is_below_zero():
    assert (ssim(255 - images(), images()) < -0.5).all()


def test_ssim_against_scipys_filters():
    a, b = images(), blurred(images(), 0.7)

    def window(x):
        return ndimage.gaussian_filter(x, 1.5, radius=5)[5:-5, 5:-5]

    want = []
    for x, y in zip(a.double().numpy(), b.double().numpy()):
        maps = []
        for p, q in zip(x, y):
            mp, mq = window(p), window(q)
            vp, vq, cov = window(p * p) - mp**2, window(q * q) - mq**2, window(p * q) - mp * mq
            c1, c2 = 6.5025, 58.5225
            top = (2 * mp * mq + c1) * (2 * cov + c2)
            maps.append(top / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
        want.append(np.mean(maps))
    assert ssim(a, b).tolist() == pytest.approx(want, rel=1e-9)


def test_gradient_energy():
    ramp = (3 * torch.arange(20)).byte().expand(1, 2, 10, 20)
    assert gradient_energy(ramp).item() == 9
    board = (100 * ((torch.arange(8)[:, None] + torch.arange(8)) % 2)).byte().view(1, 1, 8, 8)
    assert gradient_energy(board).item() == 2 * 100**2
    assert gradient_energy(flat(9)).item() == 0


def test_power_of_one_frequency():
    """A cosine of u cycles in 2H pixels has all its power at (u, 0)."""
    side = 32
    for u, share in ((4, 0), (15, 0), (16, 1), (31, 1)):
        wave = 128 + 100 * dct_matrix(side)[u] / dct_matrix(side)[u].abs().max()
        image = wave.round().byte()[:, None].expand(side, side).view(1, 1, side, side)
        variance = image.double().var(unbiased=False).item()
        assert high_frequency_power(image).item() == pytest.approx(share * variance, abs=0.5)


def test_power_and_gradient_of_white_noise():
    noise = images(count=40, channels=1, side=64)
    variance = (256**2 - 1) / 12
    assert gradient_energy(noise).mean().item() == pytest.approx(4 * variance, rel=0.02)
    assert high_frequency_power(noise).mean().item() == pytest.approx(
        (1 - math.pi / 16) * variance, rel=0.02
    )  # the unit square without a quarter disc of radius 1/2


def test_blur_lowers_and_noise_raises_both():
    data = blurred(images(count=20, side=32), 1.0)
    assert sharpness(data, data) == (1, 1)
    steps = [sharpness(blurred(data, width), data) for width in (0.5, 1, 2)]
    for measure in zip(*steps):
        assert 1 > measure[0] > measure[1] > measure[2] > 0
    noise = torch.randint(0, 40, data.shape, generator=torch.Generator().manual_seed(1))
    noisy = (data.int() + noise).clamp(0, 255).byte()
    assert min(sharpness(noisy, data)) > 1


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: psnr(images().float(), images()), "give pairs"),
        (lambda: ssim(images().float(), images()), "expected .* uint8: see to_uint8"),
        (lambda: psnr(images(), images(side=20)), "give pairs"),
        (lambda: ssim(images(), images(side=20)), "give pairs"),
        (lambda: ssim(flat(1, side=8), flat(1, side=8)), "smaller than SSIM's window"),
        (lambda: gradient_energy(images()[0]), "expected"),
        (lambda: sharpness(images()[:0], images()), "expected"),
    ],
)
def test_wrong_images(call, said):
    with pytest.raises(ValueError, match=said):
        call()

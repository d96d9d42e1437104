"""Rays, cameras and shapes of images."""

import pytest
import torch
from batches import SIZE, make

from envs.rendering.ray_tracer import rooks


def test_any_camera_and_any_shape_of_image():
    wide = make(image_size=(SIZE, 2 * SIZE), camera="back")
    assert wide.model.camera(wide.camera).name == "back"
    obs, _ = wide.reset(seed=0)
    assert obs.shape == (3, 3, SIZE, 2 * SIZE) and obs[0].numpy() in wide.single_observation_space
    side, by_index = make(camera="side"), make(camera=wide.camera)
    usual, back = (env.reset(seed=0)[0] for env in (side, by_index))
    assert torch.equal(usual, make().reset(seed=0)[0]), "side is not the task's own"
    middle = obs[..., SIZE // 2 : SIZE // 2 + SIZE]  # as high as the square one, so as far
    assert (middle.float() - back.float()).abs().mean() < 2
    assert (usual.float() - back.float()).abs().mean() > 10


@pytest.mark.parametrize("samples", [2, 3, 4])
def test_a_pixel_is_the_mean_of_its_rays(samples):
    smooth = make(samples_per_pixel=samples).reset(seed=0)[0]
    fine = make(samples_per_pixel=1, image_size=samples * SIZE).reset(seed=0)[0].float()
    fine = fine.view(3, 3, SIZE, samples, SIZE, samples)
    mean = torch.stack([fine[:, :, :, row, :, column] for row, column in rooks(samples)]).mean(0)
    assert (smooth - mean).abs().max() <= 0.5
    assert torch.equal(smooth, make(samples_per_pixel=samples).reset(seed=0)[0])
    jagged = make(samples_per_pixel=1).reset(seed=0)[0]
    assert (smooth.float() - jagged).abs().max() > 20


def test_rays_do_not_attack_each_other():
    for samples in range(1, 20):
        rows, columns = zip(*rooks(samples), strict=True)
        assert sorted(rows) == sorted(columns) == list(range(samples))
    assert set(rooks(4)) == {(0, 1), (1, 3), (2, 0), (3, 2)}  # the rotated grid


def test_more_rays_are_nearer_to_many():
    """Four are nearer to 36 than two, and two than one."""
    many = make(samples_per_pixel=36).reset(seed=0)[0].float()
    far = [
        (make(samples_per_pixel=n).reset(seed=0)[0] - many).square().mean().item()
        for n in (1, 2, 4)
    ]
    assert far[0] > 1.5 * far[1] > 1.5**2 * far[2] > 0

"""The examples of the backbone run, here with random weights: they need no training to work."""

import pytest
import torch

from aef_worldmodel import AEFBackbone
from aef_worldmodel.data.datasets import load_images
from examples import backbone_anomaly, backbone_ppo, backbone_probe


@pytest.fixture(scope="module")
def name(tmp_path_factory):
    """A backbone that has seen frames, but has not learnt."""
    torch.manual_seed(0)
    settings = {"model": "aef-dct", "latent_dim": 32, "networks": "patch", "width": 8}
    backbone = AEFBackbone((3, 64, 64), settings)
    backbone.model.initialise(load_images("frames:cheetah-run").train[:256])
    folder = tmp_path_factory.mktemp("backbone")
    backbone.save_pretrained(folder)
    return str(folder)


def test_a_linear_probe_reads_positions(name):
    """The latent's core holds the lowest frequencies, so even random networks show the pole."""
    assert 0.2 < backbone_probe.main(name, 200) < 1


def test_damaged_frames_score_higher_than_usual_ones(name):
    scores = backbone_anomaly.main(name)
    assert scores["usual"] < 1.5
    assert min(scores["noise"], scores["white patch"], scores["dark"]) > 2 * scores["usual"]


def test_ppo_learns_on_the_frozen_encoder(name):
    model = backbone_ppo.main(name, 1024)
    assert model.observation_space.shape == (3 * 32,)
    assert model.num_timesteps == 1024

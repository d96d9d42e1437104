"""A small world model and a batch for it, for tests."""

import dataclasses

import torch

from aef_worldmodel.data.batch import Batch
from aef_worldmodel.world_models.config import RecurrentConfig
from aef_worldmodel.world_models.recurrent import RecurrentWorldModel

SHAPE, ACTIONS, SIZE, LENGTH = (3, 16, 16), 2, 3, 7
CONFIG = RecurrentConfig(latent_dim=5, recurrent_dim=8, hidden_dim=16, width=8)
AUTOENCODERS = {
    "dct": {},
    "corner": {"autoencoder": "aef-corner"},
    "expanded": {"autoencoder": "expanded"},
    "vae": {"autoencoder": "vae"},
    "noise": {"autoencoder": "aef-noise"},
    "pyramid": {"networks": "pyramid"},
    "conv": {"networks": "conv"},
}
DETERMINISTIC = ["dct", "corner", "expanded", "pyramid", "conv"]


def make(name="dct", **changes):
    """Return a small world model with every parameter away from its start."""
    torch.manual_seed(0)
    config = dataclasses.replace(CONFIG, **AUTOENCODERS[name], **changes)
    model = RecurrentWorldModel(config, SHAPE, ACTIONS)
    for head in (model.reward_head.network, model.continue_head, model.prior_net):
        torch.nn.init.normal_(head[-1].weight, std=0.3)
    return model


def batch(size=SIZE, length=LENGTH, seed=1):
    """Return smooth images that move, with an episode's beginning inside the first sequence."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(size * length, 3, 4, 4, generator=generator)
    frames = torch.nn.functional.interpolate(coarse, (16, 16), mode="bilinear")
    first = torch.zeros(size, length, dtype=torch.bool)
    first[0, 3] = True
    return Batch(
        frame=(255 * frames).byte().view(size, length, *SHAPE),
        action=torch.rand(size, length, ACTIONS, generator=generator) * 2 - 1,
        reward=torch.randn(size, length, generator=generator),
        first=first,
        terminal=torch.zeros(size, length, dtype=torch.bool),
        recurrent=torch.zeros(size, length, CONFIG.recurrent_dim),
    )


def decode_all(monkeypatch):
    """Make the loss decode every frame of a batch, not a random third of them."""
    monkeypatch.setattr("aef_worldmodel.world_models.recurrent.DECODED_SHARE", 1)

"""A small world model and a batch for it, for tests."""

import dataclasses

import torch

from aef_worldmodel.world_model import WorldModel, WorldModelConfig

SHAPE, ACTIONS, SIZE, LENGTH = (3, 16, 16), 2, 3, 7
CONFIG = WorldModelConfig(
    latent_dim=5, recurrent_dim=8, hidden_dim=16, width=8, decoded_frames=10**6, overshoot=0
)
EYES = {
    "dct": {}, "corner": {"core": "corner"},
    "expanded": {"autoencoder": "expanded"}, "vae": {"autoencoder": "vae"},
    "flow": {"prior_flow": "coupling"}, "pyramid": {"decoder": "pyramid"},
}  # fmt: skip
DETERMINISTIC = ["dct", "corner", "expanded", "pyramid"]


def make(name="dct", **changes):
    """A small world model with every parameter away from its start."""
    torch.manual_seed(0)
    model = WorldModel(dataclasses.replace(CONFIG, **EYES[name], **changes), SHAPE, ACTIONS)
    for head in (model.reward_head.network, model.continue_head, model.prior_net):
        torch.nn.init.normal_(head[-1].weight, std=0.3)
    for parameter in model.prior_flow.parameters() if model.prior_flow else ():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def batch(size=SIZE, length=LENGTH, seed=1):
    """Smooth pictures that move, with an episode's beginning in the middle of the first row."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(size * length, 3, 4, 4, generator=generator)
    frames = torch.nn.functional.interpolate(coarse, (16, 16), mode="bilinear")
    first = torch.zeros(size, length, dtype=torch.bool)
    first[0, 3] = True
    return {
        "frame": (255 * frames).byte().view(size, length, *SHAPE),
        "action": torch.rand(size, length, ACTIONS, generator=generator) * 2 - 1,
        "reward": torch.randn(size, length, generator=generator),
        "first": first,
        "terminal": torch.zeros(size, length, dtype=torch.bool),
        "recurrent": torch.zeros(size, CONFIG.recurrent_dim),
    }

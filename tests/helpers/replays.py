"""Small replay buffers whose every value encodes its environment and time, for tests."""

import pytest
import torch

from aef_worldmodel.data.replay import Replay

FIELDS = {
    "frame": ((3, 4, 4), torch.uint8),
    "reward": ((), torch.float32),
    "first": ((), torch.bool),
    "recurrent": ((5,), torch.float16),
}
STORAGES = [
    "disk",
    "memory",
    pytest.param("cuda", marks=pytest.mark.gpu),
]


def make(path, envs=3, window=20, slack=6, storage="disk", fields=FIELDS):
    return Replay(path, fields, envs, envs * window, slack, storage, mutable=("recurrent",))


def rows(time_index, envs):
    """Return rows whose every value encodes their environment and time."""
    envs = torch.as_tensor(envs)
    value = envs * 1000 + torch.as_tensor(time_index)
    return {
        "frame": (value % 251).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 4, 4),
        "reward": value.float(),
        "first": value % 7 == 0,
        "recurrent": (value % 100).half()[:, None].expand(-1, 5),
    }


def fill(replay, begin, end):
    for step in range(begin, end):
        replay.add(rows(step, range(replay.num_envs)))


def draw(replay):
    return replay.sample(300, 3, torch.Generator().manual_seed(5))


def check_values(batch):
    value = batch["reward"].long().cpu()
    assert torch.equal(batch["frame"].cpu()[..., 1, 2, 3].long(), value % 251)
    assert torch.equal(batch["first"].cpu(), value % 7 == 0)
    return value

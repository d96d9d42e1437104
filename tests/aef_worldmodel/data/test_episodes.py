"""Recorded episodes are written and read back; damaged ones are named."""

import pytest
import torch

from aef_worldmodel.data import episodes
from aef_worldmodel.utils.errors import UserError


def rows(length=5):
    generator = torch.Generator().manual_seed(length)
    return {
        "frame": torch.randint(256, (length, 3, 4, 4), generator=generator).byte(),
        "action": torch.rand(length, 2, generator=generator),
        "reward": torch.rand(length, generator=generator),
        "first": torch.arange(length) == 0,
        "terminal": torch.arange(length) == length - 1,
    }


def test_an_episode_is_read_back(tmp_path):
    for number in (0, 1):
        episodes.write_episode(tmp_path, number, rows(5 + number))
    found = list(episodes.read_episodes(tmp_path))
    assert [len(one["first"]) for one in found] == [5, 6]
    for name, value in rows(5).items():
        assert torch.equal(found[0][name], value) and found[0][name].dtype == value.dtype
    assert len(list(tmp_path.iterdir())) == 2


def test_other_files_and_formats_are_named(tmp_path):
    with pytest.raises(ValueError, match="an episode needs frame, action"):
        episodes.write_episode(tmp_path, 0, {"frame": torch.zeros(3)})
    episodes.write_episode(tmp_path, 0, rows())
    path = episodes.episode_path(tmp_path, 0)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"episode_000000\.npz is not a recorded episode"):
        episodes.read_episode(path)
    with pytest.raises(UserError, match="holds no recorded episodes"):
        episodes.read_info(tmp_path)
    episodes.write_info(tmp_path, {"format": 99})
    with pytest.raises(UserError, match="format 99"):
        episodes.read_info(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"PK", b"\x80nonsense"])
def test_a_damaged_episode_is_named(tmp_path, damage):
    path = episodes.episode_path(tmp_path, 0)
    path.write_bytes(damage)
    for read in (episodes.read_episode, episodes.count_rows):
        with pytest.raises(UserError, match="is not a recorded episode"):
            read(path)

"""What a recording refuses: a count that is not that of the rows, files that are no files."""

import numpy as np
import pytest
import torch

from aef_worldmodel.data.replay import Replay
from aef_worldmodel.utils.errors import UserError
from agents.training.recording import Recording

FIELDS = {"action": ((2,), torch.float32), "recurrent": ((5,), torch.float16)}
ROWS = 30


@pytest.fixture
def folder(tmp_path):
    """A run's folder with 30 rows of two environments."""
    replay = Replay(tmp_path, FIELDS, 2, 80, 4, mutable=("recurrent",))
    for step in range(ROWS):
        envs = torch.arange(2)
        action = (step + 100.0 * envs)[:, None].expand(2, 2)
        replay.add({"action": action, "recurrent": torch.zeros(2, 5)}, envs)
    replay.flush()
    return tmp_path


def count(folder):
    return np.memmap(folder / "replay" / "written.bin", np.int64, "r+")


def test_the_newest_row_may_be_unfinished(folder):
    assert len(Recording(folder)) == 2 * (ROWS - 1)


@pytest.mark.parametrize("env", [0, 1])
def test_a_count_behind_its_rows_is_refused(folder, env):
    count(folder)[env] -= 2
    with pytest.raises(UserError, match=r"written\.bin is older than the rows"):
        Recording(folder)


def test_a_count_ahead_of_its_rows_is_refused(folder):
    count(folder)[0] += 2
    with pytest.raises(UserError, match="1 rows changed after they were written"):
        Recording(folder)


def test_a_layout_of_ten_thousand_brackets_is_refused(folder):
    (folder / "replay" / "layout.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="cannot read the replay buffer"):
        Recording(folder)


def test_a_file_that_links_to_itself_is_refused(folder):
    path = folder / "replay" / "action.bin"
    path.unlink()
    path.symlink_to(path)
    for read in (Recording, lambda run: Replay(run, FIELDS, 2, 80, 4)):
        with pytest.raises(UserError, match=r"cannot|damaged"):
            read(folder)

"""The example of a world model: its posterior sees h, and what the base class makes of that."""

import runpy
from pathlib import Path

import torch

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_world_model.py"
SHAPE, ACTIONS, SIZE, LENGTH, WIDTH = (3, 16, 16), 2, 3, 6, 8


def made():
    """Return a small model and rows: frames, actions, first (B, T), and h (B, H) of the first."""
    names = runpy.run_path(str(EXAMPLE))
    torch.manual_seed(0)
    config = names["CorrectedConfig"](latent_dim=4, recurrent_dim=WIDTH, width=8)
    model = names["CorrectedModel"](config, SHAPE, ACTIONS)
    frames = torch.randint(0, 256, (SIZE, LENGTH, *SHAPE), dtype=torch.uint8)
    first = torch.zeros(SIZE, LENGTH, dtype=torch.bool)
    first[1, 0] = first[0, 3] = True
    return model, frames, torch.rand(SIZE, LENGTH, ACTIONS), first, torch.randn(SIZE, WIDTH)


@torch.no_grad()
def test_the_rest_of_a_sequence_follows_from_the_state_of_its_row():
    """The latent of the row that filtering begins with is that of its own h."""
    model, frames, actions, first, start = made()
    whole = model.filter_frames(frames, actions, first, start)
    for t in (1, 4):
        rest = model.filter_frames(
            frames[:, t:], actions[:, t:], first[:, t:], whole.recurrent[:, t]
        )
        torch.testing.assert_close(rest.recurrent, whole.recurrent[:, t:])
        torch.testing.assert_close(rest.latent, whole.latent[:, t:])


@torch.no_grad()
def test_an_episode_forgets_the_state_before_its_first_frame():
    model, frames, actions, first, start = made()
    one, other = (model.begin(frames[:, 0], first[:, 0], h) for h in (start, 2 * start))
    assert torch.equal(one.latent[1], other.latent[1])  # an episode begins there
    assert not torch.equal(one.latent[0], other.latent[0])
    alone = model.filter_frames(frames[:1, 3:], actions[:1, 3:])
    whole = model.filter_frames(frames, actions, first, start)
    torch.testing.assert_close(whole.latent[:1, 3:], alone.latent)

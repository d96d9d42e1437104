"""The film of a whole episode shows every frame as it was, and grows a bar below it."""

import pytest
import torch

from aef_worldmodel.viz.episode import episode_film
from aef_worldmodel.viz.video import BORDER, SEEN


def test_every_frame_is_shown_enlarged_above_a_bar_of_time():
    torch.manual_seed(0)
    frames = torch.randint(0, 256, (10, 3, 32, 48), dtype=torch.uint8)
    film = episode_film(frames, torch.full((10,), 2.0), scale=2)
    assert film.dtype == torch.uint8 and len(film) == 10
    assert film.shape[1] % 2 == film.shape[2] % 2 == 0
    shown = film[:, BORDER : BORDER + 64 : 2, BORDER : BORDER + 96 : 2]
    assert torch.equal(shown, frames.permute(0, 2, 3, 1))
    bar = (film[:, 64 + 2 * BORDER] == torch.tensor(SEEN, dtype=torch.uint8)).all(-1)  # (T, w)
    lengths = bar.sum(1)
    assert lengths[0] > 0 and (lengths.diff() > 0).all() and bar[-1].all()
    assert not torch.equal(film[0, 70:], film[1, 70:])  # the return below it has grown


@pytest.mark.parametrize(("length", "step"), [(1_000, 1), (1_001, 2), (2_500, 3)])
def test_long_episodes_become_films_of_at_most_a_thousand_frames(length, step):
    """More decisions than the bar has pixels."""
    frames = torch.arange(length).fmod(251).byte().view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    film = episode_film(frames, torch.ones(length), scale=1)
    shown = film[:, BORDER, BORDER, 0]
    assert torch.equal(shown.flip(0), frames[:, 0, 0, 0].flip(0)[::step])


def test_frames_and_rewards_must_fit_together():
    with pytest.raises(ValueError, match=r"frames \(T, 3, H, W\) and rewards \(T,\)"):
        episode_film(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.zeros(5))

"""The film of a monitor: a red border where it alarms."""

import pytest
import torch

from aef_worldmodel.viz.monitor import ALARM, monitor_film
from aef_worldmodel.viz.video import SEEN


def test_the_border_is_red_where_the_monitor_alarms():
    usual = torch.tensor([0.5, 0.9, 0.001, 0.4])
    p = {"prior": usual, "pixels": torch.ones(4), "any": usual}
    frames = torch.full((4, 3, 16, 16), 200, dtype=torch.uint8)
    film = monitor_film(frames, p, level=0.01)
    assert film.dtype == torch.uint8 and film.shape[0] == 4
    assert all(size % 2 == 0 for size in film.shape[1:3])
    colours = [tuple(frame[0, 0].tolist()) for frame in film]
    assert colours == [SEEN, SEEN, ALARM, SEEN]
    assert (film[:, 10, 10] == 200).all()  # the picture itself
    assert not torch.equal(film[0], film[1])  # the moment is marked


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match=r"expected frames \(T, 3, H, W\) and p-values"):
        monitor_film(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), {"any": torch.ones(3)}, 0.01)

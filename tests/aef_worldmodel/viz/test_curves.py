"""Learning curves: means and bands are those of the runs, and a picture is drawn."""

import numpy as np
import pytest

from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.viz import curves
from aef_worldmodel.viz.curves import Run, Series

pytest.importorskip("matplotlib")
LOW = Run([1_000, 2_000, 3_000], [1.0, 2.0, 3.0], [10, 20, 30])
HIGH = Run([1_000, 2_000, 3_000], [3.0, 4.0, 5.0], [30, 40, 90])


def test_the_band_reaches_from_the_lowest_to_the_highest_run():
    found = curves.summarise([LOW, HIGH])
    assert found.frames.tolist() == [1_000, 2_000, 3_000]
    assert found.mean.tolist() == [20, 30, 60] and found.minutes.tolist() == [2, 3, 4]
    assert found.low.tolist() == [10, 20, 30] and found.high.tolist() == [30, 40, 90]


def test_runs_of_other_frames_are_interpolated_where_all_have_data():
    later = Run([1_500, 4_000], [], [0, 250])
    found = curves.summarise([LOW, later])
    assert found.frames.tolist() == [1_500, 2_000, 3_000]
    np.testing.assert_allclose(found.mean, [(15 + 0) / 2, (20 + 50) / 2, (30 + 150) / 2])
    assert not len(found.minutes)  # not all of them are known
    assert not len(curves.summarise([LOW, Run([9_000], [1.0], [5])]).frames)


def lines(panel):
    return [(line.get_linewidth(), line.get_alpha()) for line in panel.lines]


def test_means_are_thick_runs_thin_and_others_faint(tmp_path):
    figure, panels = curves.subplots(1, 2)
    series = Series("two", "C0", [LOW, HIGH], others=[HIGH], machine="a CPU")
    one = Series("alone", "C1", [Run([1_000, 2_000], [], [1, 2])], published=True)
    curves.draw_task(panels[0], "walk", [series, one])
    thin, legend = [(0.8, 0.15), (0.8, 0.5), (0.8, 0.5)], (0.8, None)
    assert lines(panels[0][0]) == [*thin, legend, (2.2, None), (1.2, None)]
    assert lines(panels[0][1]) == [*thin, (2.2, None)]
    assert len(panels[0][0].collections) == 1  # the band of the one with several runs
    texts = [text.get_text() for text in panels[0][1].get_legend().get_texts()]
    assert texts == ["two (a CPU)"] and panels[0][0].get_ylim()[0] == 0
    curves.save(figure, tmp_path / "new" / "curves.png")
    assert (tmp_path / "new" / "curves.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match=r"curves\.xyz is in no format .* \.png"):
        curves.save(figure, tmp_path / "curves.xyz")
    assert not (tmp_path / "curves.xyz").exists()


def test_a_line_of_text_rises_with_the_numbers():
    assert curves.sparkline([0, 50, 100]) == "▁▅█" and curves.sparkline([3, 3]) == "▁▁"

"""`python -m agents.plot`: runs become curves, one for all seeds of the same settings."""

import matplotlib.figure
import pytest

from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.tables import Table
from agents import plot
from agents.config import train as settings


def make(folder, *words, returns=(10.0, 20.0)):
    """Write what a run leaves behind of its evaluations."""
    settings.save(folder / "config.yaml", settings.load(["hardware=cpu", *words]))
    table = Table(folder / "metrics.csv")
    table.add({"frames": 500, "minutes": 0.5, "train/return": 3.0})
    for i, value in enumerate(returns, 1):
        table.add({"frames": 20_000 * i, "minutes": 2.0 * i, "eval/return": value})
    return str(folder)


def test_seeds_are_one_curve_and_other_settings_another(tmp_path, capsys):
    runs = [
        make(tmp_path / "a", "seed=0", "frames=50000"),
        make(tmp_path / "b", "seed=1", "hardware.threads=1", returns=(30.0, 60.0)),
        make(tmp_path / "c", "seed=0", "lr.model=0.001", returns=(1.0, 2.0)),
        make(tmp_path / "d", "seed=0", "world_model=vae", returns=(5.0,)),
        make(tmp_path / "e", "env=walker-walk", "agent=mpc"),
    ]
    out = tmp_path / "curves.png"
    assert plot.main([*runs, f"out={out}"]) == 0
    first, *others = capsys.readouterr().out.splitlines()
    assert first.startswith("cheetah-run  aef lr.model=0.0008, 2 seeds: return 40.0 (20.0 to 60.0)")
    assert first.endswith(" at 40,000 frames  ▁█")
    assert others == [
        "cheetah-run  aef lr.model=0.001, 1 seed: return 2.0 at 40,000 frames  ▁█",
        "cheetah-run  vae, 1 seed: return 5.0 at 20,000 frames  ▁",
        "walker-walk  mpc aef, 1 seed: return 20.0 at 40,000 frames  ▁█",
        f"written to {out}",
    ]
    assert out.read_bytes().startswith(b"\x89PNG")


def test_published_curves_stand_beside_where_the_task_has_them(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(plot.curves, "save", lambda figure, out: figures.append(figure))
    known, own = make(tmp_path / "a"), make(tmp_path / "b", "env=gym:CartPole-v1")
    plot.main([known, own])
    (figure,) = figures
    assert isinstance(figure, matplotlib.figure.Figure)
    legends = [[t.get_text() for t in a.get_legend().get_texts()] for a in figure.axes]
    assert {"aef, 1 seed", "DreamerV3"} <= set(legends[0])
    assert legends[2] == legends[3] == ["aef, 1 seed"]


def test_what_is_no_run_or_not_evaluated_is_left_out_with_a_sentence(tmp_path, capsys):
    good, new = make(tmp_path / "good"), make(tmp_path / "new", returns=())
    (tmp_path / "run.log").touch()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.yaml").write_text("model: vae\ndata: digits\n")
    others = [new, str(tmp_path / "run.log"), str(tmp_path / "broken")]
    plot.main([good, *others, f"out={tmp_path / 'c.png'}"])
    printed = capsys.readouterr().out
    assert f"{new} is left out: it has no evaluation yet" in printed
    assert f"{others[1]} is left out: it is not the folder of a run" in printed
    assert f"{others[2]} is left out: the settings" in printed
    with pytest.raises(UserError, match="none of these runs has an evaluation yet"):
        plot.main(others)


@pytest.mark.parametrize("words", [[], ["out=x.png"]])
def test_no_run_is_one_sentence(words):
    with pytest.raises(UserError, match=r"no run is given: .* agents\.plot runs/\*"):
        plot.main(words)

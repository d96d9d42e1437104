"""The study of the paper's claims: makes every row once, goes on, draws what is there."""

import csv

import numpy as np
import pytest

from aef_worldmodel.errors import UserError
from benchmarks import paper_claims


@pytest.fixture
def words(tmp_path):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (60, 12, 12, 1)).astype("uint8")
    np.save(tmp_path / "noise.npy", images)
    return [f"data={tmp_path / 'noise.npy'}", f"out={tmp_path / 'rows.csv'}", "updates=2",
            "batch=8", "width=4", "models=aef-center,vae", "seeds=2", "dims=2"]  # fmt: skip


def rows(tmp_path):
    with open(tmp_path / "rows.csv") as file:
        return list(csv.DictReader(file))


def test_every_row_is_made_once_with_equal_networks(words, tmp_path, capsys, monkeypatch):
    paper_claims.main([*words[:-2], "seeds=1", "dims=2"])
    first = rows(tmp_path)
    paper_claims.main(words)
    assert "2 of 4 to do" in capsys.readouterr().out
    made = rows(tmp_path)
    assert made[:2] == first and [(r["model"], r["seed"]) for r in made] == [
        ("aef-center", "0"), ("vae", "0"), ("aef-center", "1"), ("vae", "1")]  # fmt: skip
    assert len({r["parameters_networks"] for r in made}) == 1
    assert [r["likelihood"] for r in made] == ["exact", "bound"] * 2
    assert all(r["data"] == "noise.npy" and r["commit"] and r["hardware"] for r in made)
    assert str(tmp_path) not in (tmp_path / "rows.csv").read_text()
    monkeypatch.setattr(paper_claims, "PICTURES", tmp_path / "pictures")
    paper_claims.main(["plot", words[1]])
    assert (tmp_path / "pictures/paper_claims_noise.npy.png").stat().st_size > 0


def test_intervals_are_students():
    assert paper_claims.interval([3.0]) == (3.0, 0.0)
    mean, half = paper_claims.interval([1.0, 2.0, 3.0])
    assert mean == 2.0 and half == pytest.approx(4.302653 / 3**0.5, rel=1e-5)


@pytest.mark.parametrize(("word", "sentence"), [("dim=2", "unknown word 'dim=2'"),
                                                ("models=vea", "unknown model=vea"),
                                                ("dims=0", "latent_dim=0")])  # fmt: skip
def test_a_wrong_word_is_told_before_anything_is_made(word, sentence, words, tmp_path):
    with pytest.raises(UserError, match=sentence):
        paper_claims.main([*words, word])
    assert not (tmp_path / "rows.csv").exists()

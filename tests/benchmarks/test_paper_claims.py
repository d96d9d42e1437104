"""The study of the paper's claims: every row is made once, and the page shows them all."""

import numpy as np
import pytest
import torch

from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.tables import Table
from benchmarks import claims_page, paper_claims


@pytest.fixture
def words(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (60, 12, 12, 1)).astype("uint8")
    np.save(tmp_path / "noise.npy", images)
    monkeypatch.setattr(claims_page, "PAGE", tmp_path / "docs/results/claims.md")
    monkeypatch.setattr(claims_page, "IMAGES", tmp_path / "docs/images")
    return [
        f"data=[{tmp_path / 'noise.npy'}]",
        f"out={tmp_path / 'rows'}",
        "updates=2",
        "batch=8",
        "width=4",
        "models=[aef-center,vae]",
        "seeds=2",
        "dims=[8]",
    ]


def rows(tmp_path):
    return Table(tmp_path / "rows/noise.npy.csv").rows


def test_every_row_is_made_once_with_equal_networks(words, tmp_path, capsys):
    paper_claims.main([*words, "seeds=1"])
    first = rows(tmp_path)
    paper_claims.main(words)
    assert "2 of 4 to do" in capsys.readouterr().out
    made = rows(tmp_path)
    assert made[:2] == first and [(r["model"], r["seed"]) for r in made] == [
        ("aef-center", "0"),
        ("vae", "0"),
        ("aef-center", "1"),
        ("vae", "1"),
    ]
    assert len({r["parameters_networks"] for r in made}) == 1
    assert [r["likelihood"] for r in made] == ["exact", "bound"] * 2
    assert all(r["data"] == "noise.npy" and r["commit"] and r["hardware"] for r in made)
    assert str(tmp_path) not in (tmp_path / "rows/noise.npy.csv").read_text()


def test_the_page_shows_what_is_there(words, tmp_path):
    paper_claims.main(words)
    claims_page.main([f"rows={tmp_path / 'rows'}"])
    page = (tmp_path / "docs/results/claims.md").read_text()
    made = [float(r["bits_per_dim"]) for r in rows(tmp_path) if r["model"] == "vae"]
    assert f"| `vae` | {claims_page.cell(made)} |" in page and "`iwae`" not in page
    assert "4 runs, 2 seeds; updates=2, batch=8, width=4" in page and "random conv" in page
    for name in ("claims_noise.npy.png", "claims_samples_noise.npy.png"):
        assert f"(../images/{name})" in page and (tmp_path / "docs/images" / name).exists()
    paper_claims.main([*words, "updates=3", "seeds=1"])
    with pytest.raises(UserError, match="with updates=2, 3 cannot be compared"):
        claims_page.main([f"rows={tmp_path / 'rows'}"])


def test_a_page_of_nothing_is_refused(words, tmp_path):
    with pytest.raises(UserError, match="has no rows"):
        claims_page.main([f"rows={tmp_path / 'rows'}"])
    assert not (tmp_path / "docs").exists()


def test_images_are_kept_as_they_are():
    images = torch.randint(256, (3, 3, 5, 5), dtype=torch.uint8)
    assert torch.equal(claims_page.unmosaic(claims_page.mosaic(images)), images)
    assert claims_page.mosaic(images[:, :1]).shape == (5, 15, 3)


def test_intervals_are_students():
    assert claims_page.interval([3.0]) == (3.0, 0.0)
    mean, half = claims_page.interval([1.0, 2.0, 3.0])
    assert mean == 2.0 and half == pytest.approx(4.302653 / 3**0.5, rel=1e-5)
    assert (claims_page.cell([]), claims_page.cell([0.5])) == ("", "0.5")


def test_frames_are_trained_with_settings_of_their_own():
    asked = paper_claims.PaperClaimsConfig(updates=7)
    frames = paper_claims.fit_config(asked, "frames:cheetah-run", "vae", 2, 0)
    asked = paper_claims.PaperClaimsConfig()
    digits = paper_claims.fit_config(asked, "digits", "vae", 2, 0)
    assert (frames.variance, frames.sigma_floor, frames.updates) == ("fixed", 0.1, 7)
    assert (digits.variance, digits.sigma_floor, digits.updates) == ("independent", 0.01, 1500)


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("dim=2", "unknown key 'dim'"),
        ("models=[vea]", "unknown model vea"),
        ("models=vae", "models=vae is wrong"),
        ("dims=[0]", "latent_dim=0"),
        ("dims=[two]", "two is wrong"),
        ("seeds=few", "seeds=few is wrong"),
        ("rate=fast", "rate=fast is wrong"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_made(word, sentence, words, tmp_path):
    with pytest.raises(UserError, match=sentence):
        paper_claims.main([*words, word])
    assert not (tmp_path / "rows").exists()


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("data=[deep/down/mnist,frames:cheetah-run]", "data=[mnist,frames:cheetah-run]"),
        ("out=runs/claims", "out=claims"),
        ("rate=0.001", "rate=0.001"),
    ],
)
def test_rows_do_not_name_folders(word, kept):
    assert paper_claims.without_folders(word) == kept

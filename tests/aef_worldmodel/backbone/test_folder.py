"""Backbones come back from their files; what is no backbone is refused in a sentence."""

import json
import pickle
import sys
import types

import pytest
import torch
from safetensors.torch import load_file, save_file

from aef_worldmodel import AEFBackbone, RecurrentConfig, RecurrentWorldModel, fit
from aef_worldmodel.backbone.folder import SHIPPED, shipped
from aef_worldmodel.data.datasets import load_images
from aef_worldmodel.metrics.image_quality import psnr, to_uint8
from aef_worldmodel.utils.errors import UserError

SETTINGS = {"model": "aef-dct", "latent_dim": 6, "networks": "patch", "width": 8}


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    made = AEFBackbone((3, 32, 32), SETTINGS, {"name": "mine", "data": "noise | none"})
    made.model.initialise(images(32))
    return made.eval()


@pytest.fixture
def saved(backbone, tmp_path):
    backbone.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def images(count=8):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)


def test_it_comes_back_bit_for_bit(backbone, saved):
    again, x = AEFBackbone.from_pretrained(saved), images()
    assert torch.equal(again(x), backbone(x))
    assert torch.equal(again.log_prob(x), backbone.log_prob(x))
    assert sorted(path.name for path in saved.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert "noise \\| none" in (saved / "README.md").read_text()


def test_float16_halves_the_file_and_agrees(backbone, saved, tmp_path):
    backbone.save_pretrained(tmp_path / "half", torch.float16)
    sizes = [(p / "model.safetensors").stat().st_size for p in (saved, tmp_path / "half")]
    assert sizes[1] < 0.55 * sizes[0]
    half, x = AEFBackbone.from_pretrained(tmp_path / "half"), images()
    assert all(p.dtype == torch.float32 for p in half.parameters())
    torch.testing.assert_close(half(x), backbone(x), atol=5e-3, rtol=5e-3)
    bits = half.bits_per_dim(x, False) - backbone.bits_per_dim(x, False)
    assert bits.abs().max() < 1e-3
    split = half.autoencoder.split.basis  # never rounded: the likelihood stays exact
    torch.testing.assert_close(split @ split.T, torch.eye(6), atol=1e-5, rtol=0)


def test_a_run_of_fit_becomes_a_backbone(tmp_path):
    run = tmp_path / "run"
    words = ["data=digits:16", "model=aef-dct", "latent_dim=4", "width=8", "updates=3"]
    assert fit.main([*words, "batch=8", f"run={run}"]) == 0
    backbone = AEFBackbone.from_run(run)
    backbone.save_pretrained(tmp_path / "out")
    x = torch.randint(0, 256, (2, 1, 16, 16), dtype=torch.uint8)
    assert torch.equal(AEFBackbone.from_pretrained(tmp_path / "out")(x), backbone(x))


def test_the_shipped_weights_fit_the_usual_world_model_and_know_control_frames():
    backbone = AEFBackbone.from_pretrained("dmc")
    usual = RecurrentWorldModel(RecurrentConfig(), (3, 64, 64), 2)
    usual.autoencoder.load_state_dict(backbone.autoencoder.state_dict())
    assert (SHIPPED / "dmc" / "model.safetensors").stat().st_size < 5e6
    assert load_file(SHIPPED / "dmc" / "model.safetensors")["autoencoder.mean"].dtype == torch.half
    frames = load_images("frames:cheetah-run").test
    assert backbone.bits_per_dim(frames).mean() < 6.2  # uniform noise has 8
    mean = to_uint8(backbone.autoencoder.mean).expand_as(frames)
    seen = psnr(to_uint8(backbone.reconstruct(frames)), frames).mean()
    assert seen > psnr(mean, frames).mean() + 4


# -- refused -----------------------------------------------------------------------------


def refused(name, sentence, **options):
    with pytest.raises(UserError, match=sentence) as caught:
        AEFBackbone.from_pretrained(name, **options)
    assert "\n" not in str(caught.value)


def change(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_an_unknown_name_gets_close_matches():
    refused("dmcc", "no backbone 'dmcc'.*" + ("did you mean dmc" if "dmc" in shipped() else ""))


def test_a_folder_that_is_no_model(tmp_path):
    refused(tmp_path, "is not the folder of a backbone .has no config.json")
    (tmp_path / "config.json").write_text("[1")
    refused(tmp_path, "is not the folder of a backbone .config.json: ")


def test_another_architecture_or_a_newer_version(saved):
    change(saved, architecture="ResNet")
    refused(saved, "architecture 'ResNet', not AEFBackbone")
    change(saved, architecture="AEFBackbone", format=2)
    refused(saved, "has format 2, this version reads up to 1: install a newer")
    change(saved, format=1, settings=SETTINGS | {"latent_dim": 7})
    refused(saved, "saved with another architecture")
    change(saved, settings=SETTINGS | {"hidden_layers": 7})
    refused(saved, "does not describe a backbone of this version .ConfigError")


def test_a_pickle_is_never_opened(saved, tmp_path):
    mark = tmp_path / "executed"

    class Bad:
        def __reduce__(self):
            return (open, (str(mark), "w"))

    (saved / "model.safetensors").write_bytes(pickle.dumps({"weights": Bad()}))
    refused(saved, "cannot be read as safetensors .*a pickle can execute code")
    (saved / "model.safetensors").unlink()
    torch.save({"weights": torch.zeros(2)}, saved / "pytorch_model.bin")
    refused(saved, "cannot be read as safetensors")
    assert not mark.exists()


def test_weights_that_are_cut_short(saved):
    whole = (saved / "model.safetensors").read_bytes()
    (saved / "model.safetensors").write_bytes(whole[:-10])
    refused(saved, "cannot be read as safetensors")
    save_file({"a": torch.zeros(2)}, saved / "model.safetensors")
    refused(saved, "saved with another architecture")


def test_a_folder_that_cannot_be_written(backbone, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="could not write"):
        backbone.save_pretrained(tmp_path / "file" / "folder")


# -- the Hub -----------------------------------------------------------------------------


def test_without_the_extra_a_hub_id_is_refused(backbone, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    refused("nobody/nothing", r"needs huggingface_hub: pip install 'aef-worldmodel\[hub\]'")
    with pytest.raises(UserError, match="needs huggingface_hub"):
        backbone.push_to_hub("nobody/nothing")


def test_without_a_network_it_is_one_sentence(backbone, tmp_path, monkeypatch):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", "http://127.0.0.1:9")
    refused("nobody/nothing", "cannot be fetched from the Hub", local_files_only=True)
    refused("nobody/nothing", "cannot be fetched from the Hub", cache_dir=tmp_path)


def test_a_cache_folder_that_cannot_be_written(monkeypatch):
    def snapshot_download(*_, **__):
        raise PermissionError(13, "Permission denied", "cache/huggingface")

    fake = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    refused("nobody/nothing", "cannot be kept in the cache folder .Permission denied.: set HF_HOME")


def test_the_mixin_uploads_what_save_pretrained_writes(backbone, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    seen = {}

    def upload_folder(self, *, repo_id, folder_path, **_):
        files = sorted(p.name for p in type(folder_path)(folder_path).iterdir())
        seen[repo_id] = files, load_file(f"{folder_path}/model.safetensors")

    created = types.SimpleNamespace(repo_id="me/mine")
    monkeypatch.setattr(hub.HfApi, "create_repo", lambda *_, **__: created)
    monkeypatch.setattr(hub.HfApi, "upload_folder", upload_folder)
    backbone.push_to_hub("me/mine")
    files, weights = seen["me/mine"]
    assert files == ["README.md", "config.json", "model.safetensors"]
    assert weights.keys() == backbone._own().keys()

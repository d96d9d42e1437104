"""Images by name: every form is read, the split is fixed, every mistake is one sentence."""

import pytest
import torch

from aef_worldmodel.data.datasets import FRAMES, digit_images, load_images, split
from aef_worldmodel.utils.errors import UserError
from envs.batched import BatchedEnv


def everything(images):
    return torch.cat([images.train, images.validation, images.test])


def same_set(images, array):
    """The three sets together are the given images (N, C, H, W), each once."""
    got, want = everything(images).flatten(1), torch.as_tensor(array).flatten(1)
    return sorted(map(bytes, got.numpy())) == sorted(map(bytes, want.numpy()))


# -- built in ----------------------------------------------------------------------------


def test_digits_enlarged():
    small, images = digit_images(), load_images("digits")
    assert small.shape == (1797, 8, 8) and (small.min(), small.max()) == (0, 16)
    assert images.shape == (1, 28, 28) and images.train.dtype == torch.uint8
    assert [len(images.train), len(images.validation), len(images.test)] == [1437, 180, 180]
    assert "enlarged from 8x8" in images.source


def test_digits_at_their_own_size_are_unchanged():
    images = load_images("digits:8")
    stretched = (digit_images().double() * 255 / 16).round().byte()
    assert same_set(images, stretched)
    assert load_images("digits:32").shape == (1, 32, 32)


def test_frames():
    images = load_images("frames")
    assert images.shape == (3, 64, 64)
    assert [len(images.train), len(images.validation), len(images.test)] == [2400, 300, 300]
    for task in FRAMES:
        one = load_images(f"frames:{task}")
        for name, count in (("train", 800), ("validation", 100), ("test", 100)):
            part = set(map(bytes, getattr(one, name).numpy()))
            assert len(getattr(one, name)) == count
            assert part <= set(map(bytes, getattr(images, name).numpy()))


def test_the_first_frames_are_of_all_tasks():
    first = set(map(bytes, load_images("frames").train[:60].numpy()))
    for task in FRAMES:
        own = set(map(bytes, load_images(f"frames:{task}").train.numpy()))
        assert 10 <= len(first & own) <= 30


def test_frames_of_a_set_are_distinct_and_lively():
    frames = load_images("frames:cheetah-run").train
    assert len({bytes(f) for f in frames.numpy()}) == len(frames)
    assert frames.float().std(0).mean() > 3  # they move


@pytest.mark.parametrize("word", ["digits", "digits:32", "frames:walker-walk"])
def test_the_split_is_the_same_every_time(word):
    once, again = load_images(word), load_images(word)
    for name in ("train", "validation", "test"):
        assert torch.equal(getattr(once, name), getattr(again, name))


def test_the_split_is_frozen():
    """The same images in every version, so that their numbers compare."""
    numbered = torch.arange(100, dtype=torch.uint8).view(100, 1, 1, 1)
    images = split({"all": numbered}, "numbers")
    assert images.test.flatten().tolist() == [87, 36, 21, 83, 9, 96, 67, 64, 47, 44]


# -- rendered ----------------------------------------------------------------------------


def test_rendered_frames_repeat_and_are_split_between_environments():
    images, again = load_images("env:cartpole-swingup:31"), load_images("env:cartpole-swingup:31")
    assert [len(images.train), len(images.validation), len(images.test)] == [11, 11, 9]
    assert torch.equal(everything(images), everything(again))
    other = load_images("env:cartpole-swingup:31:7")
    assert not torch.equal(images.train, other.train)


def test_data_of_neighbouring_seeds_share_no_environment(monkeypatch):
    given = []
    monkeypatch.setattr(BatchedEnv, "reset", lambda self, seed: given.append(seed) or 1 / 0)
    for seed in (0, 1, 2):
        with pytest.raises(ZeroDivisionError):
            load_images(f"env:cartpole-swingup:400:{seed}")
    assert given[0] == list(range(40)), "the built-in frames and all results are of these"
    assert len({seed for seeds in given for seed in seeds}) == 120


@pytest.mark.slow
def test_built_in_frames_are_what_the_renderer_draws():
    images, drawn = load_images("frames:cartpole-swingup"), load_images("env:cartpole-swingup:1000")
    assert torch.equal(everything(images), everything(drawn))


@pytest.mark.parametrize(
    "word, said",
    [
        ("env:", "names no task"),
        ("env:5000", "names no task"),
        ("env:cheetah-run:20", "at least 30"),
        ("env:cheeta-run", "cheetah-run"),
    ],
)
def test_impossible_renderings_are_one_sentence(word, said):
    with pytest.raises(UserError, match=said):
        load_images(word)


# -- names -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word, said",
    [
        ("digit", "unknown images 'digit': give digits"),
        ("digits:7", "not a size: give one from digits:8"),
        ("digits:large", "not a size"),
        ("frames:hopper-hop", "env:hopper-hop to render"),
        ("nowhere/data.npz", "unknown images"),
    ],
)
def test_unknown_words(word, said):
    with pytest.raises(UserError, match=said):
        load_images(word)


def test_scenes_of_the_suite_are_split_between_environments(monkeypatch):
    monkeypatch.setattr("envs.scenes.distinct_tasks", lambda without: ["cartpole-balance"])
    images = load_images("suite-finger,dog:80:1")
    assert [len(images.train), len(images.validation), len(images.test)] == [64, 8, 8]
    assert "of 1 models without finger, dog, seed 1" in images.source


@pytest.mark.parametrize("word", ["suite:30", "suite:80:x", "suite-fingers:80"])
def test_sets_of_scenes_that_do_not_exist_are_one_sentence(word):
    with pytest.raises(UserError, match=r"multiple of 40|is not a set|no tasks fingers-"):
        load_images(word)

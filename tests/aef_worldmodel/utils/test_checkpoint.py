"""Checkpoints: everything comes back exactly, and nothing half-written ever counts."""

import copy
import errno
import os
import random

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from torch import nn

from aef_worldmodel.utils import checkpoint as checkpoints
from aef_worldmodel.utils import files
from aef_worldmodel.utils.checkpoint import (
    list_checkpoints,
    load_checkpoint,
    load_latest,
    load_weights,
    save_checkpoint,
)
from aef_worldmodel.utils.errors import UserError

DTYPES = [
    torch.uint8,
    torch.bool,
    torch.int64,
    torch.int32,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
]


def same(a, b):
    """Equal containers, types, dtypes and bits."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        bits = [x.contiguous().reshape(-1).view(torch.uint8) for x in (a, b)]
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(*bits)
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (a != a and b != b)


@st.composite
def tensors(draw):
    shape = draw(st.lists(st.integers(0, 3), max_size=4))
    seed = draw(st.integers(0, 99))
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 100
    return values.abs().to(draw(st.sampled_from(DTYPES)))


leaves = (
    tensors()
    | st.none()
    | st.booleans()
    | st.integers(-(2**130), 2**130)
    | st.floats()
    | st.text(max_size=4)
)
states = st.dictionaries(
    st.text(max_size=3) | st.integers(-3, 3),
    st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(st.text("ab/.'", max_size=3) | st.integers(0, 3), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    max_size=4,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(state=states)
def test_any_state_comes_back(tmp_path, state):
    path = save_checkpoint(tmp_path, 7, state, {"a": [1, "b"]})
    found = load_checkpoint(path)
    assert same(found.state, state)
    assert found.step == 7 and found.meta == {"a": [1, "b"]}


def learner():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 4, 2))
    net = net.to(memory_format=torch.channels_last)
    return net, torch.optim.Adam(net.parameters(), 1e-2, fused=True)


def update(net, optimiser):
    loss = net(torch.randn(5, 3, 4, 4).to(memory_format=torch.channels_last)).square().mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def test_training_continues_exactly(tmp_path):
    net, optimiser = learner()
    for _ in range(3):
        update(net, optimiser)
    numpy_rng = np.random.default_rng(3)
    numpy_rng.normal(size=5)
    env = {"qpos": torch.rand(4, 9, dtype=torch.float64), "steps": np.arange(4), "seed": 5}
    state = {
        "model": net.state_dict(),
        "optimiser": optimiser.state_dict(),
        "torch_rng": torch.get_rng_state(),
        "numpy_rng": numpy_rng.bit_generator.state,
        "python_rng": random.getstate(),
        "env": env,
    }
    save_checkpoint(tmp_path, 3, state, {})
    expected_noise, expected_random = numpy_rng.normal(size=3), random.random()
    update(net, optimiser)

    found = load_latest(tmp_path).state
    other, other_optimiser = learner()
    load_weights(other, found["model"], "here")
    other_optimiser.load_state_dict(found["optimiser"])
    torch.set_rng_state(found["torch_rng"])
    update(other, other_optimiser)
    assert same(other.state_dict(), net.state_dict())
    assert same(other_optimiser.state_dict(), optimiser.state_dict())
    numpy_rng.bit_generator.state = found["numpy_rng"]
    random.setstate(found["python_rng"])
    assert np.array_equal(numpy_rng.normal(size=3), expected_noise)
    assert random.random() == expected_random
    assert same(found["env"], env)


def test_shared_memory_is_saved(tmp_path):
    base = torch.arange(6.0)
    state = {"a": base, "b": base[2:], "c": base}
    assert same(load_checkpoint(save_checkpoint(tmp_path, 0, state, {})).state, state)


def test_anyone_can_read_the_tensors(tmp_path):
    path = save_checkpoint(tmp_path, 0, {"model": {"layer.weight": torch.eye(2)}}, {})
    with safe_open(path, framework="np") as file:
        assert np.array_equal(file.get_tensor("model/layer.weight"), np.eye(2))


def test_only_the_newest_stay(tmp_path):
    for step in (1, 20, 300):
        save_checkpoint(tmp_path, step, {"x": torch.tensor(step)}, {})
    assert [load_checkpoint(p).step for p in list_checkpoints(tmp_path)] == [20, 300]
    assert load_latest(tmp_path).state["x"] == 300


def test_resuming_an_earlier_step_drops_the_abandoned_future(tmp_path):
    for step in (10, 20):
        save_checkpoint(tmp_path, step, {}, {})
    save_checkpoint(tmp_path, 15, {}, {})
    assert [load_checkpoint(p).step for p in list_checkpoints(tmp_path)] == [10, 15]


@pytest.mark.parametrize("fail_in", ["save_file", "_sync", "replace"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
def test_failure_in_the_middle_leaves_the_old_one(tmp_path, monkeypatch, fail_in, error):
    save_checkpoint(tmp_path, 1, {"x": torch.ones(3)}, {})

    def fail(*args, **kwargs):
        if fail_in == "save_file":
            args[1].write_bytes(b"half")
        raise error

    owners = {"save_file": checkpoints, "_sync": files, "replace": os}
    monkeypatch.setattr(owners[fail_in], fail_in, fail)
    with pytest.raises((UserError, KeyboardInterrupt)) as caught:
        save_checkpoint(tmp_path, 2, {"x": torch.zeros(3)}, {})
    monkeypatch.undo()
    found = load_latest(tmp_path)
    assert found.step == 1 and found.skipped == () and same(found.state, {"x": torch.ones(3)})
    if isinstance(error, OSError):
        assert "No space left" in str(caught.value) and "step_000000000001" in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["step_000000000001.safetensors"]
    save_checkpoint(tmp_path, 2, {"x": torch.zeros(3)}, {})
    assert load_latest(tmp_path).step == 2
    assert len(list(tmp_path.iterdir())) == 2


def test_what_a_killed_process_left_is_deleted(tmp_path):
    for name in ("unfinished.tmp", "unfinished-step_000000000001.safetensors"):
        (tmp_path / name).write_bytes(b"half")
    path = save_checkpoint(tmp_path, 2, {}, {})
    assert list(tmp_path.iterdir()) == [path]


def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "truncated":
        data = data[:-10]
    elif how == "empty":
        data = b""
    elif how == "bit in a tensor":
        data[-3] ^= 4
    elif how == "bit in the header":
        data[data.index(b"gamma")] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["truncated", "empty", "bit in a tensor", "bit in the header"])
def test_damaged_file_is_refused_and_the_good_one_named(tmp_path, how):
    good = save_checkpoint(tmp_path, 1, {"x": torch.rand(9)}, {"gamma": 0.9})
    bad = save_checkpoint(tmp_path, 2, {"x": torch.rand(9)}, {"gamma": 0.9})
    damage(bad, how)
    with pytest.raises(UserError) as caught:
        load_checkpoint(bad)
    assert f"checkpoint {bad} is damaged" in str(caught.value)
    assert f"use the newest good one, {good}" in str(caught.value)
    latest = load_latest(tmp_path)
    assert latest.step == 1 and latest.skipped == (str(caught.value),)
    damage(good, how)
    with pytest.raises(UserError, match=r"no usable checkpoint is left.*no other good one exists"):
        load_latest(tmp_path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(UserError, match=r"checkpoint .*nothing does not exist"):
        load_checkpoint(tmp_path / "nothing")
    with pytest.raises(UserError, match="holds no checkpoint"):
        load_latest(tmp_path / "nothing")


def test_newer_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "FORMAT_VERSION", 2)
    path = save_checkpoint(tmp_path, 1, {}, {})
    monkeypatch.undo()
    with pytest.raises(UserError, match="has format 2, this version reads up to 1"):
        load_checkpoint(path)


def test_other_architecture_is_refused_and_nothing_loaded():
    net = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    before = copy.deepcopy(net.state_dict())
    other = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(5, 1)).state_dict()
    with pytest.raises(UserError) as caught:
        load_weights(net, other, "run/step_1")
    message = str(caught.value)
    assert "run/step_1 was saved with another architecture (4 tensors differ: " in message
    assert "1.weight is (5, 4), expected (2, 4)" in message
    assert "2.weight is (1, 5), expected absent" in message
    assert same(net.state_dict(), before)


def test_state_that_cannot_be_saved_is_named(tmp_path):
    with pytest.raises(TypeError, match="has a set at 'a/1'"):
        save_checkpoint(tmp_path, 1, {"a": [0, {1}]}, {})
    with pytest.raises(TypeError, match=r"key 1\.5"):
        save_checkpoint(tmp_path, 1, {"a": {1.5: 0}}, {})
    assert list_checkpoints(tmp_path) == []

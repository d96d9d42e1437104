"""A monitor of frames: the parts of the video's likelihood, and p-values that are what they say."""

import pytest
import small_world
import torch

from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.world_models.surprise import PARTS, Calibration, Surprisal, Surprise

COUNT, LENGTH = 4, 6


def episodes(seed=0):
    """Return frames (N, T, C, H, W) and actions (N, T, A) of smooth random images."""
    torch.manual_seed(seed)
    coarse = torch.rand(COUNT * LENGTH, 3, 4, 4)
    frames = torch.nn.functional.interpolate(coarse, small_world.SHAPE[1:], mode="bilinear")
    frames = (255 * frames).byte().view(COUNT, LENGTH, *small_world.SHAPE)
    return frames, 2 * torch.rand(COUNT, LENGTH, small_world.ACTIONS) - 1


@pytest.mark.parametrize("name", small_world.DETERMINISTIC)
def test_the_stream_adds_up_to_the_likelihood_of_the_video(name):
    model, (frames, actions) = small_world.make(name), episodes()
    seen = Surprise(model, COUNT).episodes(frames, actions)
    with torch.no_grad():
        whole = model.log_prob(frames, actions, dequantise=False)
    for part in PARTS:
        streamed = torch.stack([getattr(step, part) for step in seen], 1)
        torch.testing.assert_close(streamed, getattr(whole, part), rtol=1e-4, atol=1e-3)
    total = torch.stack([step.total for step in seen], 1).sum(1)
    torch.testing.assert_close(total, whole.total, rtol=1e-4, atol=1e-2)


def test_the_stream_filters_as_the_model_does_and_forgets_where_an_episode_begins():
    model, (frames, actions) = small_world.make(), episodes()
    monitor, state = Surprise(model, COUNT), model.initial(COUNT)
    first = torch.zeros(LENGTH, COUNT, dtype=torch.bool)
    first[0], first[3, 1] = True, True
    for t in range(LENGTH):
        before = actions[:, t - 1] if t else torch.zeros_like(actions[:, 0])
        seen = monitor.step(before, frames[:, t], first[t])
        with torch.no_grad():
            state = model.observe(state, before, frames[:, t], first[t])
        torch.testing.assert_close(monitor.state.recurrent, state.recurrent)
        torch.testing.assert_close(monitor.state.latent, state.latent)
        if t == 3:
            alone = Surprise(model, COUNT).step(before, frames[:, t])
            torch.testing.assert_close(seen.prior[1], alone.prior[1])
            assert not torch.isclose(seen.prior[0], alone.prior[0])


def usual(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    parts = torch.randn(3, count, generator=generator, dtype=torch.float64)
    return [Surprisal(*parts, torch.arange(count) % 5 == 0)]


def test_p_values_of_usual_frames_are_uniform_and_any_keeps_its_level():
    p = Calibration.of(usual(5_000)).p_values(usual(5_000, seed=1)[0])
    for part in PARTS:
        for level in (0.02, 0.1, 0.5):
            assert (p[part] <= level).double().mean().item() == pytest.approx(level, abs=0.02)
    assert (p["any"] <= 0.05).double().mean() <= 0.07


def test_both_sides_alarm_and_extremes_have_the_smallest_value_there_is():
    calibration = Calibration.of(usual(500))
    for value in (-1e9, 1e9):
        new = Surprisal(torch.tensor([value]), *torch.zeros(2, 1), torch.tensor([False]))
        p = calibration.p_values(new)
        assert p["prior"].item() == pytest.approx(2 / 401)
        assert p["any"].item() == pytest.approx(6 / 401)
        assert p["volume"].item() > 0.5


def test_first_frames_are_compared_with_first_frames():
    seen = usual(500)[0]
    shifted = seen._replace(prior=torch.where(seen.first, seen.prior - 100, seen.prior))
    calibration = Calibration.of([shifted])
    new = Surprisal(torch.tensor([-100.0, -100.0]), *torch.zeros(2, 2), torch.tensor([True, False]))
    begin, later = calibration.p_values(new)["prior"]
    assert begin > 0.5 and later < 0.01


def test_frames_after_the_end_of_an_episode_do_not_count():
    steps = [usual(10, seed)[0] for seed in range(3)]
    alive = [torch.arange(10) < 6 for _ in steps]
    calibration = Calibration.of(steps, alive)
    assert len(calibration.values["prior"]) == 3 * 4  # 6 frames, of which 0 and 5 are first ones


def test_a_calibration_is_saved_and_read_back(tmp_path):
    calibration = Calibration.of(usual(50))
    calibration.save(tmp_path / "surprise.npz")
    again = Calibration.load(tmp_path / "surprise.npz")
    assert all(torch.equal(again.values[k], v) for k, v in calibration.values.items())


def test_what_is_no_calibration_is_refused(tmp_path):
    (tmp_path / "text.npz").write_text("nothing")
    for name in ("text.npz", "absent.npz"):
        with pytest.raises(UserError, match="is not a calibration"):
            Calibration.load(tmp_path / name)
    with pytest.raises(ValueError, match="needs values of first_prior"):
        Calibration({part: torch.zeros(3) for part in PARTS})
    with pytest.raises(ValueError, match="for a monitor of 2 environments"):
        Surprise(small_world.make(), 2).step(*episodes()[::-1])

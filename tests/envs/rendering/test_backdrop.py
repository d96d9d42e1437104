"""The moving backdrop: only behind the scene, by episode and frame, with the same physics."""

import pytest
import torch

import envs
from envs.engines.mjcf import compile_model
from envs.rendering.backdrop import FRAMES, Backdrop
from envs.seeds import env_seeds
from envs.suite import make_task

SMALL = {"image_size": 32, "threads": 1}


def make(num_envs=3, task="cheetah-run", sky=1.0, floor=0.0, **options):
    looks = envs.Randomization(sky=sky, floor=floor)
    return envs.make(task, num_envs, randomization=looks, **(SMALL | options))


def met(env):
    """Masks (N, 1, H, W) of the pixels that show sky, floor and anything else."""
    geoms = env._observer._renderer._renderer.geoms[:, None]
    floor = geoms == env.sim.geom("ground")
    return geoms == -1, floor, (geoms != -1) & ~floor


@pytest.mark.parametrize(("sky", "floor"), [(1.0, 0.0), (0.0, 1.0), (0.4, 0.6)])
def test_only_the_background_changes_and_physics_does_not(sky, floor):
    plain, env = envs.make("cheetah-run", 3, **SMALL), make(sky=sky, floor=floor)
    plain.reset(seed=0), env.reset(seed=0)
    for _ in range(3):
        action = torch.rand(3, 6) * 2 - 1
        usual, obs = plain.step(action), env.step(action)
        assert torch.equal(usual[1], obs[1]) and torch.equal(plain.proprio(), env.proprio())
    change = (obs[0].float() - usual[0].float()).abs()  # (N, 3, H, W)
    for mask, share in zip(met(env), (sky, floor, 0.0), strict=True):
        seen = change[mask.expand_as(change)]
        assert len(seen) > 100
        assert (seen.mean() > 10) == (share > 0), f"{share} of the backdrop changes {seen.mean()}"
        assert share > 0 or seen.max() == 0


def test_an_opaque_sky_is_its_formula():
    env = make(num_envs=2)
    env.reset(seed=3)
    obs = env.step(torch.zeros(2, 6))[0]
    backdrop = env._observer._renderer._backdrop
    y, x = torch.meshgrid(torch.arange(32.0) / 32, torch.arange(32.0) / 32, indexing="ij")
    cycles_x, cycles_y, speed, start = (backdrop._phase.float() / 65536)[..., None, None].unbind(2)
    phase = (1024 * (cycles_x * x + cycles_y * y) + 2 * speed + start) % 1  # (N, waves, H, W)
    wave = 2 * (phase - 0.5).abs()
    weight = backdrop._weight.float() / 256  # (N, waves, 3)
    color = 0.5 + torch.einsum("nkc,nkhw->nchw", weight, wave - 0.5)
    sky = met(env)[0].expand_as(obs)
    assert ((256 * color.clamp(0, 1) - obs)[sky].abs() < 2).all()


def test_it_moves_and_differs_between_environments_and_episodes_and_follows_the_seed():
    env = make()
    first = env.reset(seed=0)[0]
    before = env._observer._renderer._backdrop.image(torch.zeros(3).int(), (32, 32)).float()
    later = env._observer._renderer._backdrop.image(torch.full((3,), 20).int(), (32, 32)).float()
    assert (before.std((1, 2, 3)) > 15).all(), "the backdrop is blank"
    assert ((before - later).abs().mean((1, 2, 3)) > 10).all(), "the backdrop stands still"
    assert (before[0] - before[1]).abs().mean() > 10 and (before[1] - before[2]).abs().mean() > 10
    second = env.reset()[0]
    assert (first.float() - second.float()).abs().mean() > 10
    assert torch.equal(env.reset(seed=0)[0], first)


def test_the_same_whatever_the_threads_and_the_number_of_environments():
    runs = []
    for threads in (1, 3):
        env = make(threads=threads, floor=0.5)
        env.reset(seed=7)
        runs.append([env.step(torch.full((3, 6), 0.3))[0] for _ in range(5)])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
    alone = make(num_envs=1, floor=0.5)
    alone.reset(seed=env_seeds(7, 3)[2:])
    for expected in runs[0]:
        assert torch.equal(alone.step(torch.full((1, 6), 0.3))[0][0], expected[2])


def test_it_is_resumed_exactly_across_an_autoreset():
    env, other = make(floor=0.3, frame_stack=2), make(floor=0.3, frame_stack=2)
    env.reset(seed=1), other.reset(seed=5)
    env.episodes.decision[:2] = 497
    env.step(torch.ones(3, 6))
    state = env.state()
    expected = [env.step(torch.ones(3, 6)) for _ in range(4)]
    assert expected[1][4]["_final_obs"].tolist() == [True, True, False]
    other.set_state(state)
    for theirs in expected:
        obs, *_, info = other.step(torch.ones(3, 6))
        assert torch.equal(obs, theirs[0]) and info.keys() == theirs[4].keys()
        if info:
            assert torch.equal(info["final_obs"], theirs[4]["final_obs"])


def test_its_time_is_in_frames_not_decisions():
    slow, fast = make(action_repeat=2), make(action_repeat=4)
    slow.reset(seed=0), fast.reset(seed=0)
    slow.step(torch.ones(3, 6))
    assert torch.equal(slow.step(torch.ones(3, 6))[0], fast.step(torch.ones(3, 6))[0])


def test_a_larger_image_shows_the_same():
    backdrop = Backdrop(compile_model(make_task("cheetah-run").spec()), 2, "cpu", 1.0, 1.0)
    backdrop.randomize(torch.arange(2), torch.tensor([4, 5]), torch.tensor([0, 3]))
    frames = torch.tensor([0, 999], dtype=torch.int32)
    large = backdrop.image(frames, (64, 32))
    assert torch.equal(large[:, :, ::4, ::2], backdrop.image(frames, (16, 16)))
    speed = backdrop._phase[..., 2]  # steps of 1/65536 a frame
    assert (speed >= 65536 // FRAMES[1]).all() and (speed <= 65536 // FRAMES[0]).all()
    env = make(num_envs=2, render_mode="rgb_array", render_size=64)
    seen = env.reset(seed=0)[0].permute(0, 2, 3, 1).float()  # (N, 32, 32, 3)
    large = torch.from_numpy(env.render()).float()[:, ::2, ::2]
    assert (seen[:, :12] - large[:, :12]).abs().mean() < 2  # sky, but for the cheetah's edges


def test_only_fixed_planes_are_floor():
    model = compile_model(make_task("reacher-easy").spec())
    opacity = Backdrop(model, 1, "cpu", 0.0, 1.0)._opacity
    floor = {model.geom(i).name for i in range(model.ngeom) if opacity[i]}
    assert floor == {"ground", "wall_x", "wall_y", "wall_neg_x", "wall_neg_y"} and opacity[-1] == 0


def test_amounts_out_of_range():
    with pytest.raises(ValueError, match=r"sky=1\.5 is out of range: give 0 to 1"):
        envs.Randomization(sky=1.5)
    with pytest.raises(ValueError, match=r"floor=-0\.1 is out of range: give 0 to 1"):
        envs.Randomization(floor=-0.1)

"""The face: shapes, seeds, autoreset, exact resume, and what it says to bad input."""

import threading

import gymnasium as gym
import numpy as np
import pytest
import torch
import warp as wp
from gymnasium.vector import AutoresetMode

import envs
from envs.ray_tracer import rooks

SIZE = 16  # pixels: small pictures for quick tests


def make(task="cheetah-run", num_envs=3, **options):
    return envs.make(task, num_envs, **({"image_size": SIZE, "threads": 1} | options))


def actions(env, steps, seed=0):
    """Random actions (steps, N, A)."""
    generator = torch.Generator().manual_seed(seed)
    shape = (steps, *env.action_space.shape)
    return torch.rand(shape, generator=generator) * 2 - 1


def play(env, some_actions):
    """Everything a run returns, step by step."""
    return [env.step(action)[:4] for action in some_actions]


def same(a, b):
    return all(
        torch.equal(x, y)
        for step, other in zip(a, b, strict=True)
        for x, y in zip(step, other, strict=True)
    )


@pytest.fixture(scope="module")
def env():
    """One environment for the tests that may leave it anywhere."""
    made = make()
    made.reset(seed=0)
    yield made
    made.close()


def skip_to(env, decision):
    """Pretends that the episodes have already lasted so many decisions."""
    env._decision[:] = decision


def test_shapes_dtypes_and_spaces(env):
    assert isinstance(env, gym.vector.VectorEnv)
    obs, info = env.reset(seed=0)
    assert obs.shape == (3, 3, SIZE, SIZE) and obs.dtype == torch.uint8 and info == {}
    obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
    assert obs.numpy() in env.observation_space and obs[0].numpy() in env.single_observation_space
    assert reward.shape == (3,) and reward.dtype == torch.float32
    assert terminated.dtype == truncated.dtype == torch.bool and info == {}
    assert env.single_action_space == gym.spaces.Box(-1, 1, (6,), np.float32)
    assert env.episode_decisions == 500 and env.action_repeat == 2
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert obs.float().std() > 1, "the pictures are blank"


def test_proprio_is_named(env):
    env.reset(seed=0)
    assert env.proprio().shape == (3, len(env.proprio_names)) == (3, 17)
    assert env.proprio().dtype == torch.float32
    assert env.proprio_names[0] == "position[0]" and env.proprio_names[-1] == "velocity[8]"


def test_a_decision_sums_the_rewards_of_its_frames():
    once, twice = make(action_repeat=1), make(action_repeat=2)
    once.reset(seed=1), twice.reset(seed=1)
    for action in actions(once, 5):
        rewards = once.step(action)[1] + once.step(action)[1]
        torch.testing.assert_close(twice.step(action)[1], rewards)
    assert torch.equal(once.proprio(), twice.proprio())


def test_what_is_returned_is_not_overwritten(env):
    obs, _ = env.reset(seed=0)
    before = obs.clone()
    env.step(torch.ones(3, 6))
    assert torch.equal(obs, before)


def test_same_seed_same_run_whatever_the_threads_and_the_number_of_worlds():
    runs = []
    for threads in (1, 2, 3):
        env = make(threads=threads)
        first, _ = env.reset(seed=7)
        runs.append([(first,), *play(env, actions(env, 10))])
    assert same(runs[0], runs[1]) and same(runs[0], runs[2])
    fewer = make(num_envs=1)
    first, _ = fewer.reset(seed=8)  # the second world of seed 7
    assert torch.equal(first[0], runs[0][0][0][1])
    for action, expected in zip(actions(env, 10), runs[0][1:], strict=True):
        obs, reward, *_ = fewer.step(action[1:2])
        assert torch.equal(obs[0], expected[0][1]) and reward[0] == expected[1][1]


def test_seeds_and_episodes_differ(env):
    first = env.reset(seed=0)[0]
    second = env.reset()[0]
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])
    assert torch.equal(env.reset(seed=0)[0], first)
    assert torch.equal(env.reset(seed=[0, 1, 2])[0], first)


def test_same_step_autoreset():
    env = make()
    env.reset(seed=0)
    skip_to(env, 498)
    some = actions(env, 3)
    assert not env.step(some[0])[3].any()
    env._decision[1] = 0  # one world is elsewhere in its episode
    obs, _, terminated, truncated, info = env.step(some[1])
    assert truncated.tolist() == [True, False, True] and not terminated.any()
    assert torch.equal(info["_final_obs"], truncated)
    assert info["final_obs"].shape == obs.shape
    assert torch.equal(info["final_obs"][1], obs[1])
    assert not torch.equal(info["final_obs"][0], obs[0])
    fresh = make()
    fresh.reset(seed=0)
    assert torch.equal(fresh.reset()[0][[0, 2]], obs[[0, 2]])  # episode 1 of the same seeds
    assert env.step(some[2])[4] == {}


def test_next_step_autoreset():
    env = make(autoreset="next_step")
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    env.reset(seed=0)
    skip_to(env, 499)
    _, _, _, truncated, info = env.step(torch.zeros(3, 6))
    assert truncated.all() and info == {}
    obs, reward, terminated, truncated, _ = env.step(torch.ones(3, 6))
    assert not (terminated | truncated).any() and (reward == 0).all()
    fresh = make()
    fresh.reset(seed=0)
    assert torch.equal(fresh.reset()[0], obs)
    assert (env._decision == 0).all()


def test_disabled_autoreset_waits_for_the_mask():
    env = make(autoreset="disabled")
    assert env.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    env.reset(seed=0)
    env._decision[:2] = 499
    before, _, _, truncated, _ = env.step(torch.zeros(3, 6))
    assert truncated.tolist() == [True, True, False]
    with pytest.raises(ValueError, match=r"\[0, 1\] have ended"):
        env.step(torch.zeros(3, 6))
    obs, _ = env.reset(options={"reset_mask": truncated.numpy()})
    assert torch.equal(obs[2], before[2]) and not torch.equal(obs[0], before[0])
    env.step(torch.zeros(3, 6))
    assert env._decision.tolist() == [1, 1, 2]


@pytest.mark.parametrize("task", ["cheetah-run", "reacher-easy", "hopper-stand"])
def test_resume_is_exact(task):
    env, other = make(task), make(task)
    env.reset(seed=3)
    play(env, actions(env, 4))
    skip_to(env, 497)  # so that what follows crosses an autoreset
    state = env.state()
    proprio = env.proprio()
    rest = actions(env, 6, seed=1)
    expected = play(env, rest)
    end = env.proprio()
    other.set_state(state)
    assert torch.equal(other.proprio(), proprio)
    assert same(play(other, rest), expected)
    assert torch.equal(other.proprio(), end)


def test_state_survives_torch_save(env, tmp_path):
    env.reset(seed=0)
    torch.save(env.state(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    expected = play(env, actions(env, 2))
    env.set_state(state)
    assert same(play(env, actions(env, 2)), expected)


def test_drawing_threads_leave_warps_device_alone(monkeypatch):
    env, entered = make(num_envs=4, threads=2), []

    class Scoped(wp.ScopedDevice):
        def __enter__(self):
            entered.append(threading.current_thread())
            return super().__enter__()

    monkeypatch.setattr(wp, "ScopedDevice", Scoped)
    env.reset()
    assert set(entered) == {threading.main_thread()}  # it is one for all of them


def test_a_state_of_another_shape_is_refused(env):
    with pytest.raises(ValueError, match="does not fit"):
        env.set_state(make(num_envs=2).state())
    walker = make("walker-walk", num_envs=env.num_envs)  # its tensors have the same shapes
    with pytest.raises(ValueError, match=r"state is of a 'planar walker', .* has a 'cheetah'"):
        env.set_state(walker.state())


def test_any_camera_and_any_shape_of_picture():
    wide = make(image_size=(SIZE, 2 * SIZE), camera="back")
    assert wide.model.camera(wide.camera).name == "back"
    obs, _ = wide.reset(seed=0)
    assert obs.shape == (3, 3, SIZE, 2 * SIZE) and obs[0].numpy() in wide.single_observation_space
    side, by_index = make(camera="side"), make(camera=wide.camera)
    usual, back = (env.reset(seed=0)[0] for env in (side, by_index))
    assert torch.equal(usual, make().reset(seed=0)[0]), "side is not the task's own"
    middle = obs[..., SIZE // 2 : SIZE // 2 + SIZE]  # as high as the square one, so as far
    assert (middle.float() - back.float()).abs().mean() < 2
    assert (usual.float() - back.float()).abs().mean() > 10


@pytest.mark.parametrize("rays", [2, 3, 4])
def test_a_pixel_is_the_mean_of_its_rays(rays):
    smooth = make(rays=rays).reset(seed=0)[0]
    fine = make(rays=1, image_size=rays * SIZE).reset(seed=0)[0].float()
    fine = fine.view(3, 3, SIZE, rays, SIZE, rays)
    mean = torch.stack([fine[:, :, :, row, :, column] for row, column in rooks(rays)]).mean(0)
    assert (smooth - mean).abs().max() <= 0.5
    assert torch.equal(smooth, make(rays=rays).reset(seed=0)[0])
    jagged = make(rays=1).reset(seed=0)[0]
    assert (smooth.float() - jagged).abs().max() > 20


def test_rays_do_not_attack_each_other():
    for rays in range(1, 20):
        rows, columns = zip(*rooks(rays), strict=True)
        assert sorted(rows) == sorted(columns) == list(range(rays))
    assert set(rooks(4)) == {(0, 1), (1, 3), (2, 0), (3, 2)}  # the rotated grid


def test_rays_near_a_picture_of_many():
    """Four are nearer to what 36 show than two, two than one."""
    many = make(rays=36).reset(seed=0)[0].float()
    far = [(make(rays=n).reset(seed=0)[0] - many).square().mean().item() for n in (1, 2, 4)]
    assert far[0] > 1.5 * far[1] > 1.5**2 * far[2] > 0


def test_render_at_any_size():
    env = make(render_mode="rgb_array", render_size=(40, 60))
    env.reset(seed=0)
    frames = env.render()
    assert frames.shape == (3, 40, 60, 3) and frames.dtype == np.uint8 and frames.std() > 1
    assert make().render() is None


def test_diverged_physics_ends_only_its_world():
    env = make()
    env.reset(seed=0)
    env.sim.qvel[1] = 1e30
    with pytest.warns(UserWarning, match=r"non_finite in worlds \[1\]"):
        _, reward, terminated, truncated, info = env.step(torch.zeros(3, 6))
    assert terminated.tolist() == [False, True, False] and not truncated.any()
    assert torch.isfinite(reward).all() and env.faults()["non_finite"] == 1
    assert info["_final_obs"].tolist() == [False, True, False]
    assert torch.isfinite(env.proprio()).all() and env._decision.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        (torch.zeros(3, 5), r"shape \(3, 5\): give .* \(3, 6\)"),
        (torch.zeros(6), r"shape \(6,\)"),
        (np.full((3, 6), np.nan), r"action\[0, 0\] = nan is not within"),
        (torch.full((3, 6), 1.5), r"= 1.5 is not within \[-1, 1\]"),
        (torch.full((3, 6), -torch.inf), "= -inf is not within"),
    ],
)
def test_bad_actions(env, action, sentence):
    with pytest.raises(ValueError, match=sentence):
        env.step(action)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_envs": 0}, "num_envs=0 is not a count"),
        ({"action_repeat": 3}, "does not divide 1000 frames: give one of"),
        ({"camera": "front"}, "camera='front' is not in the model: .*'side'"),
        ({"camera": 9}, "camera=9 is not in the model"),
        ({"autoreset": "always"}, "autoreset='always' is not known: give 'same_step' or"),
        ({"render_mode": "human"}, "render_mode='human' is not known"),
        ({"device": "tpu"}, "device='tpu' is not known"),
        ({"image_size": 0}, "image_size=0 is not a count"),
        ({"rays": 0}, "rays=0 is not a count"),
        ({"obs": "depth"}, "obs='depth' is not known: give 'pixels' or"),
        ({"frame_stack": 0}, "frame_stack=0 is not a count"),
        ({"array": "jax"}, "array='jax' is not known"),
        ({"engine": "physx"}, "engine='physx' is not known: give 'c' or 'warp'"),
    ],
)
def test_bad_options(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        make(**options)


def test_an_unknown_task_names_its_neighbours():
    with pytest.raises(ValueError, match=r"cheetah-runs.*cheetah-run"):
        envs.make("cheetah-runs")


def test_bad_reset_mask_and_seeds(env):
    with pytest.raises(ValueError, match="reset_mask"):
        env.reset(options={"reset_mask": [1, 0, 1]})
    with pytest.raises(ValueError, match="2 seeds for 3 worlds"):
        env.reset(seed=[1, 2])


def test_numpy_out_for_gymnasiums_own_wrappers():
    env = gym.wrappers.vector.RecordEpisodeStatistics(make(array="numpy"))
    obs, _ = env.reset(seed=0)
    assert isinstance(obs, np.ndarray) and obs in env.observation_space
    skip_to(env.unwrapped, 499)
    *_, info = env.step(np.zeros((3, 6), np.float32))
    assert isinstance(info["final_obs"], np.ndarray)
    assert info["_episode"].all() and (info["episode"]["l"] == 1).all()


def test_the_state_beside_or_instead_of_pixels():
    seen, both, blind = make(), make(obs="both"), make(obs="proprio")
    for env in (seen, both, blind):
        env.reset(seed=5)
    for action in actions(seen, 3):
        pixels = seen.step(action)[0]
        together, state = both.step(action)[0], blind.step(action)[0]
        assert torch.equal(together["pixels"], pixels)
        assert torch.equal(together["proprio"], state) and torch.equal(state, seen.proprio())
    assert blind.observation_space.shape == (3, 17)
    assert both.single_observation_space["pixels"].shape == (3, SIZE, SIZE)
    blind._decision[:] = 499
    *_, info = blind.step(torch.zeros(3, 6))
    assert info["final_obs"].shape == (3, 17)


def test_frame_stack():
    single, stacked = make(), make(frame_stack=3)
    first, _ = single.reset(seed=2)
    assert torch.equal(stacked.reset(seed=2)[0], first.repeat(1, 3, 1, 1))
    some = actions(single, 4)
    seen = [single.step(action)[0] for action in some]
    obs = [stacked.step(action)[0] for action in some]
    assert torch.equal(obs[0], torch.cat([first, first, seen[0]], 1))
    assert torch.equal(obs[3], torch.cat(seen[1:], 1))
    state, action = stacked.state(), torch.ones(3, 6)
    expected = stacked.step(action)[0]
    stacked.set_state(state)
    assert torch.equal(stacked.observe(), obs[3])
    assert torch.equal(stacked.step(action)[0], expected)
    skip_to(stacked, 499)
    begun, *_, info = stacked.step(action)
    assert torch.equal(begun, begun[:, :3].repeat(1, 3, 1, 1))
    assert torch.equal(info["final_obs"][:, 3:6], expected[:, 6:])


def test_frame_stack_begins_anew_under_next_step():
    env = make(frame_stack=2, autoreset="next_step")
    env.reset(seed=0)
    skip_to(env, 499)
    env.step(torch.ones(3, 6))
    begun = env.step(torch.ones(3, 6))[0]
    assert torch.equal(begun[:, :3], begun[:, 3:])

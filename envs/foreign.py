"""Other people's environments behind the same face: any Gymnasium env with pictures, dm_control."""

import functools

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from envs import reference
from envs.checks import checked_action, checked_device, image_shape, one_of, positive
from envs.suite import make_task


class Pictures(gym.Wrapper):
    """One environment as the batch wants it: pictures (3, H, W), actions in [-1, 1], repeated.

    The picture is the observation if that is one, uint8 (H, W, 3), and what `render` gives if not;
    it is resized by averaging areas.

    Args:
        env: with a continuous action space.
        size: (H, W) in pixels.
        action_repeat: steps a decision lasts; their rewards are summed.

    Raises:
        ValueError: actions that are not a bounded box, or no pictures.
    """

    def __init__(self, env: gym.Env, size: tuple[int, int], action_repeat: int):
        super().__init__(env)
        actions, shown = env.action_space, env.observation_space
        if not isinstance(actions, gym.spaces.Box) or not actions.is_bounded():
            raise ValueError(f"Its actions are {actions}: only a bounded Box can be scaled.")
        self._seen = shown.dtype == np.uint8 and len(shown.shape) == 3 and shown.shape[-1] == 3
        if not self._seen and env.render_mode != "rgb_array":
            raise ValueError(f"It shows {shown} and cannot render: give one with pictures.")
        self._size, self._repeat = size, action_repeat
        self._low, self._high = actions.low, actions.high
        self.action_space = gym.spaces.Box(-1.0, 1.0, actions.shape, dtype=np.float32)
        self.observation_space = gym.spaces.Box(0, 255, (3, *size), dtype=np.uint8)

    def reset(self, **options):
        """A new episode's first picture."""
        obs, info = self.env.reset(**options)
        return self._picture(obs), info

    def step(self, action):
        """One decision; it ends early where the episode does."""
        action = self._low + (np.asarray(action) + 1) / 2 * (self._high - self._low)
        total = 0.0
        for _ in range(self._repeat):
            obs, reward, terminated, truncated, info = self.env.step(action.astype(self._low.dtype))
            total += float(reward)
            if terminated or truncated:
                break
        return self._picture(obs), total, terminated, truncated, info

    def _picture(self, obs) -> np.ndarray:
        image = np.ascontiguousarray(obs if self._seen else self.env.render())
        image = torch.from_numpy(image).permute(2, 0, 1)[None].float()  # (1, 3, H', W')
        image = torch.nn.functional.interpolate(image, self._size, mode="area")
        return image[0].round().byte().numpy()


class DmControl(gym.Env):
    """dm_control's own environment with its own OpenGL pictures.

    Args:
        task: one of `envs.tasks()`.
        size: (H, W) in pixels.

    Raises:
        ValueError: there is no OpenGL to draw with.
    """

    render_mode = "rgb_array"

    def __init__(self, task: str, size: tuple[int, int]):
        self._task, self._size, self._camera = task, size, make_task(task).camera
        self._env = reference.load(task, seed=0, pictures=True)
        bounds = self._env.action_spec()
        self.action_space = gym.spaces.Box(
            bounds.minimum.astype(np.float32), bounds.maximum.astype(np.float32)
        )
        self.observation_space = gym.spaces.Box(0, 255, (*size, 3), dtype=np.uint8)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        """A new episode; with a seed, that seed's first."""
        super().reset(seed=seed)
        if seed is not None:
            self._env.task.random.seed(seed)
        self._env.reset()
        return self.render(), {}

    def step(self, action):
        """One control step."""
        step = self._env.step(np.asarray(action, np.float64))
        return self.render(), step.reward, False, step.last(), {}

    def render(self) -> np.ndarray:
        """The picture now, uint8 (H, W, 3)."""
        try:
            return self._env.physics.render(*self._size, camera_id=self._camera)
        except Exception as error:  # each GL backend fails in its own way
            raise ValueError(
                f"dm_control cannot draw here ({error}): install EGL (libegl1 libgl1) and set "
                "MUJOCO_GL=egl, or leave out backend='dm_control'."
            ) from None


class ForeignEnv(VectorEnv):
    """N copies of one environment, stepped by Gymnasium's own vector envs, as torch tensors.

    The face is that of `BatchedEnv` under "same_step" without what needs its physics: `proprio`
    is (N, 0), `state` raises.

    Args:
        make_one: makes one copy, called N times.
        num_envs: N.
        frames: steps of the environment an episode lasts at most, for `episode_decisions`.
        device: where the tensors go.
        seed: copy i is seeded with seed + i at the first reset.
        image_size: side, or (H, W), of the pictures.
        action_repeat: steps of the environment a decision lasts.
        processes: step the copies in processes of their own.
    """

    def __init__(
        self,
        make_one,
        num_envs: int = 1,
        *,
        frames: int,
        device: str | torch.device = "cpu",
        seed: int = 0,
        image_size: int | tuple[int, int] = 64,
        action_repeat: int = 2,
        processes: bool = False,
    ):
        self.num_envs, self.device = positive("num_envs", num_envs), checked_device(device)
        self.action_repeat = positive("action_repeat", action_repeat)
        self.episode_decisions = -(-frames // action_repeat)
        size = image_shape("image_size", image_size)
        one = functools.partial(_pictures, make_one, size, action_repeat)
        vector = AsyncVectorEnv if processes else SyncVectorEnv
        self._batch = vector([one] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)
        self._seed: int | list[int] | None = seed
        self.single_action_space = self._batch.single_action_space
        self.single_observation_space = self._batch.single_observation_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}
        self.proprio_names: list[str] = []

    def reset(self, *, seed: int | list[int] | None = None, options: dict | None = None):
        """Starts new episodes; the first time with the seed given when made.

        Returns:
            obs (N, 3, H, W) uint8, and an empty info.
        """
        seed, self._seed = self._seed if seed is None else seed, None
        obs, _ = self._batch.reset(seed=seed, options=options)
        return self._tensor(obs), {}

    def step(self, action):
        """One decision in every copy, as `BatchedEnv.step`.

        Raises:
            ValueError: an action of another shape, not finite or out of bounds.
        """
        action = torch.as_tensor(action)
        checked_action(action, (self.num_envs, *self.single_action_space.shape))
        obs, reward, terminated, truncated, info = self._batch.step(
            action.clamp(-1, 1).cpu().numpy()
        )
        obs, out = self._tensor(obs), {}
        if "_final_obs" in info:
            final, ended = obs.clone(), info["_final_obs"]
            for i in np.flatnonzero(ended):
                final[i] = self._tensor(info["final_obs"][i])
            out = {"final_obs": final, "_final_obs": self._tensor(ended)}
        flags = self._tensor(terminated), self._tensor(truncated)
        return obs, self._tensor(reward).float(), *flags, out

    def proprio(self) -> Tensor:
        """Nothing is known of the state: float32 (N, 0)."""
        return torch.zeros((self.num_envs, 0), device=self.device)

    def faults(self) -> dict[str, int]:
        """No failures are counted: the environment raises its own."""
        return {}

    def state(self) -> dict:
        """Cannot be had of an environment that offers none.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "The state of this environment cannot be saved: only envs.tasks() resume exactly."
        )

    def close_extras(self, **kwargs) -> None:
        """Closes the copies and ends their processes."""
        self._batch.close()

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(array)).to(self.device)


def _pictures(make_one, size: tuple[int, int], action_repeat: int) -> gym.Env:
    return Pictures(make_one(), size, action_repeat)


def make_gym(name: str, num_envs: int, **options) -> ForeignEnv:
    """Copies of the Gymnasium environment `name`, e.g. "CarRacing-v3".

    Raises:
        ValueError: Gymnasium does not know it or cannot make it; its episodes have no end.
    """
    try:
        frames = gym.spec(name).max_episode_steps
        if frames is None:
            raise ValueError(f"The episodes of {name!r} have no end: register it with a limit.")
        one = functools.partial(gym.make, name, render_mode="rgb_array")
        return ForeignEnv(one, num_envs, frames=frames, **options)
    except gym.error.Error as error:
        raise ValueError(f"Gymnasium cannot make {name!r}: {error}") from None


def make_dm_control(task: str, num_envs: int, **options) -> ForeignEnv:
    """Copies of dm_control's own environment of a task, with OpenGL pictures."""
    size = image_shape("image_size", options.get("image_size", 64))
    one = functools.partial(DmControl, task, size)
    return ForeignEnv(one, num_envs, frames=make_task(task).frames, **options)


def make_foreign(task: str, num_envs: int, backend: str | None, **options) -> ForeignEnv | None:
    """The environment if `task` or `backend` asks for somebody else's; None if not."""
    if task.startswith("gym:"):
        return make_gym(task.removeprefix("gym:"), num_envs, **options)
    if one_of("backend", backend, (None, "dm_control")) == "dm_control":
        return make_dm_control(task, num_envs, **options)
    return None

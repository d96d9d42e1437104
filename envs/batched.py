"""N environments of one task as a Gymnasium VectorEnv with torch tensors."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from envs.checks import (
    camera_index,
    check_action,
    check_state,
    checked_device,
    control_range,
    cores,
    divisor,
    image_shape,
    one_of,
    positive,
    reset_mask,
)
from envs.engines.episode_rng import EpisodeRng
from envs.engines.faults import FaultCounter
from envs.engines.mjcf import compile_model
from envs.episodes import Episodes
from envs.factory import make_engine, make_renderer
from envs.observation import KINDS, Observer, proprio_names, proprio_vector, to_numpy
from envs.rendering.randomize import Randomization, VisualRandomizer
from envs.rendering.renderer import Renderer
from envs.suite.task import Task

AUTORESET = {
    "same_step": AutoresetMode.SAME_STEP,
    "next_step": AutoresetMode.NEXT_STEP,
    "disabled": AutoresetMode.DISABLED,
}


class BatchedEnv(VectorEnv):
    """N environments of one task, stepped and rendered together.

    Observations are images, uint8 (N, 3, H, W); rewards are float32 (N,), summed over the action
    repeat; terminated and truncated are bool (N,). All are on `device`. Episodes are truncated
    after the task's `episode_length`; an environment is terminated only when its physics fails.

    Environment i takes its episodes from a hash of `seed` and i, whatever the number of
    environments or threads: neighbouring seeds share no episode.

    Args:
        task: defines rewards and the starts of episodes.
        num_envs: N.
        device: "cpu" (MuJoCo's C engine) or "cuda" (mujoco-warp).
        engine: "c" or "warp"; None chooses by the device. "warp" on the CPU is a hundred times
            slower, to try the code without a GPU.
        seed: one for all environments, or a list of one for each.
        image_size: side of the square image, or (H, W), in pixels.
        samples_per_pixel: rays that each pixel averages. 2 smooth edges nearly like dm_control's
            OpenGL, 4 more at half the speed; 1 leaves them jagged.
        action_repeat: frames (control steps) of a decision; it must divide the episode length.
        camera: the model's camera, by name or index; None for the task's own.
        obs: "pixels", "proprio" (no image is rendered) or "both", a dictionary.
        frame_stack: images in an observation: (N, 3 * frame_stack, H, W).
        array: "torch", or "numpy" for wrappers that expect it.
        autoreset: "same_step", "next_step" or "disabled", as Gymnasium defines them.
        threads: threads that render on the CPU; None for one for each available core.
        randomization: how much appearances vary, and a moving backdrop.
        render_mode: "rgb_array" lets `render` return images of `render_size`.
        render_size: side, or (H, W), of the images of `render`.

    Raises:
        ValueError: an argument is out of range; the sentence names it and what to give.
    """

    num_choices: int | None = None  # actions are continuous

    def __init__(
        self,
        task: Task,
        num_envs: int = 1,
        *,
        device: str | torch.device = "cpu",
        engine: str | None = None,
        seed: int | list[int] = 0,
        image_size: int | tuple[int, int] = 64,
        samples_per_pixel: int = 2,
        action_repeat: int = 2,
        camera: int | str | None = None,
        obs: str = "pixels",
        frame_stack: int = 1,
        array: str = "torch",
        autoreset: str = "same_step",
        threads: int | None = None,
        randomization: Randomization | None = None,
        render_mode: str | None = None,
        render_size: int | tuple[int, int] = 240,
    ):
        self.task, self.num_envs = task, positive("num_envs", num_envs)
        self.device = checked_device(device)
        self.action_repeat = divisor(task.episode_length, action_repeat)
        self.episode_decisions = task.episode_length // self.action_repeat
        self.autoreset = one_of("autoreset", autoreset, AUTORESET)
        self.array = one_of("array", array, ("torch", "numpy"))
        self.render_mode = one_of("render_mode", render_mode, (None, "rgb_array"))
        self.render_size = image_shape("render_size", render_size)
        self.threads = min(positive("threads", threads or cores()), num_envs)
        self.samples_per_pixel = positive("samples_per_pixel", samples_per_pixel)
        one_of("obs", obs, KINDS)
        size, stack = image_shape("image_size", image_size), positive("frame_stack", frame_stack)
        self.model = compile_model(task.spec())
        self.camera = camera_index(self.model, task.camera if camera is None else camera)
        self.substeps = task.substeps(self.model)
        self.sim = make_engine(engine, self.model, self.num_envs, self.device, task)
        self.episodes = Episodes(seed, self.num_envs, self.action_repeat)
        self._faults = FaultCounter(self.num_envs)
        self._randomizer = (
            None if randomization is None else VisualRandomizer(randomization, self.sim)
        )
        renderer = None if obs == "proprio" else self._make_renderer(size)
        self._large_renderer: Renderer | None = None  # made when first needed
        self._start(torch.ones(self.num_envs, dtype=torch.bool))
        self.episodes.number.fill_(-1)  # the first reset() is episode 0
        self._observer = Observer(obs, task, self.sim, renderer, stack)
        self._make_spaces()

    def _make_renderer(self, size: tuple[int, int]) -> Renderer:
        options = (self.sim, size, self.camera, self.threads, self.samples_per_pixel)
        if self._randomizer is None:
            return make_renderer(*options)
        renderer = make_renderer(*options, geoms=self._randomizer.needs_geoms)
        return self._randomizer.wrap(renderer, self.episodes.frames)

    def _make_spaces(self) -> None:
        self.single_action_space = gym.spaces.Box(-1.0, 1.0, (self.model.nu,), dtype=np.float32)
        self.single_observation_space = self._observer.space
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.metadata = {
            "autoreset_mode": AUTORESET[self.autoreset],
            "render_modes": ["rgb_array"],
            "render_fps": round(1 / (self.model.opt.timestep * self.substeps * self.action_repeat)),
        }
        low, high = control_range(self.model).to(self.device, self.sim.dtype)  # (A,) each
        self._middle, self._half = (low + high) / 2, (high - low) / 2

    # ---- Gymnasium

    def reset(
        self, *, seed: int | list[int] | None = None, options: dict | None = None
    ) -> tuple[Any, dict]:
        """Start new episodes.

        Args:
            seed: environment i continues from the hash of seed and i (or from seed[i] of a list)
                with its episode 0; None continues with each environment's next episode.
            options: {"reset_mask": (N,) bool} resets only those environments.

        Returns:
            The observation, uint8 (N, 3, H, W) by default, and an empty info.

        Raises:
            ValueError: `reset_mask` is not (N,) bool, or the number of seeds is not N.
        """
        mask = reset_mask(options, self.num_envs)
        if seed is not None:
            self.episodes.reseed(mask, seed)
        self._start(mask)
        return self._output(self._observer.after_reset(mask)), {}

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict]:
        """Make one decision in every environment: repeat the action and sum the rewards.

        Args:
            action: torch or numpy, (N, A), within the action space.

        Returns:
            obs (N, 3, H, W) uint8, reward (N,) float32, terminated (N,) bool, truncated (N,) bool
            and info. Under "same_step", obs already shows the next episode where one ended;
            info["final_obs"] (N, 3, H, W) then holds the last images of the ended episodes, in
            the environments marked by info["_final_obs"] (N,).

        Raises:
            ValueError: the action has another shape, is not finite or out of bounds; or, under
                "disabled", an environment has ended and was not reset.
        """
        action = self._control(action)
        resumed = self.episodes.ended.clone()  # under next_step, their step is their reset
        if resumed.any() and self.autoreset == "disabled":
            which = resumed.nonzero()[:, 0].tolist()
            raise ValueError(
                f"Environments {which} have ended: call reset(options={{'reset_mask': mask}}) "
                "for them."
            )
        reward = self._advance(action)
        self.episodes.decision += 1
        terminated = self._faults.update(self.sim.faults(), stacklevel=2)
        truncated = (self.episodes.decision >= self.episode_decisions) & ~terminated
        if resumed.any():
            self._start(resumed)
            terminated, truncated = terminated & ~resumed, truncated & ~resumed
            reward = reward.masked_fill(resumed.to(self.device), 0.0)
        self.episodes.ended = ended = terminated | truncated
        reward = reward.masked_fill(terminated.to(self.device), 0.0).float()
        obs, info = self._observer.after_step(started=resumed), {}
        if ended.any() and self.autoreset == "same_step":
            info = {"final_obs": obs, "_final_obs": ended.to(self.device)}
            self._start(ended)
            obs = self._observer.after_reset(ended)
        terminated, truncated = terminated.to(self.device), truncated.to(self.device)
        return self._output((obs, reward, terminated, truncated, info))

    def render(self) -> Any:
        """Return images of all environments now, numpy uint8 (N, H, W, 3), of `render_size`.

        None unless render_mode is "rgb_array".
        """
        if self.render_mode is None:
            return None
        if self._large_renderer is None:
            self._large_renderer = self._make_renderer(self.render_size)
        return self._large_renderer.render().permute(0, 2, 3, 1).cpu().numpy().copy()

    def close_extras(self, **kwargs: Any) -> None:
        """End the rendering threads."""
        self._observer.close()
        if self._large_renderer is not None:
            self._large_renderer.close()

    # ---- beyond Gymnasium

    def proprio(self) -> Tensor:
        """Return the state as dm_control observes it, flattened in its order: float32 (N, P)."""
        return proprio_vector(self.task, self.sim)

    @property
    def proprio_names(self) -> list[str]:
        """Names of `proprio`'s P numbers, e.g. "velocity[3]"."""
        return proprio_names(self.task, self.sim)

    def set_appearance(self, name: str, values: Tensor) -> None:
        """Draw every environment with colours or lights of its own from the next image on.

        name: a field of the model such as "geom_rgba"; values (N, count, 3 or 4) float32.
        """
        self._observer.set_appearance(name, values)

    def faults(self) -> dict[str, int]:
        """Return how often the physics of an environment failed, by kind of failure."""
        return dict(self._faults.counts)

    def state(self) -> dict[str, Any]:
        """Return everything that the future depends on, for `set_state`: tensors on the CPU."""
        physics = {name: value.cpu() for name, value in self.sim.state().items()}
        return physics | {
            "model": self.model.names.split(b"\0")[0].decode(),
            **self.episodes.state(),
            "faults": dict(self._faults.counts),
            **self._observer.state(),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned, bit for bit on the CPU.

        Raises:
            ValueError: the state is of another task, engine or number of environments.
        """
        check_state(state, self.state())
        if self._randomizer is not None:
            all_envs = torch.arange(self.num_envs, device=self.device)
            self._randomizer.randomize(all_envs, state["seeds"], state["episode"])
        self.sim.set_state(state)
        self.episodes.set_state(state)
        self._faults.counts = dict(state["faults"])
        self._observer.set_state(state)

    def observe(self) -> Any:
        """Return the observation as the last `reset`, `step` or `set_state` left it."""
        return self._output(self._observer.current())

    # ---- parts of a step

    def _control(self, action: Any) -> Tensor:
        """Check the action (N, A) and convert it for the engine."""
        action = torch.as_tensor(action, device=self.device)
        check_action(action, (self.num_envs, self.model.nu))
        return action.to(self.sim.dtype).clamp(-1, 1)

    def _advance(self, action: Tensor) -> Tensor:
        """Repeat the action (N, A) and return the summed reward (N,)."""
        self.sim.ctrl.copy_(self._middle + self._half * action)
        reward = torch.zeros(self.num_envs, dtype=self.sim.dtype, device=self.device)
        for _ in range(self.action_repeat):
            self.sim.step(self.substeps)
            reward += self.task.reward(self.sim)
        return reward

    def _start(self, mask: Tensor) -> None:
        """Start the next episode of the environments in `mask` (N,)."""
        self.episodes.start(mask)
        env_ids = mask.nonzero()[:, 0]  # (K,)
        seeds, episodes = self.episodes.seeds[env_ids], self.episodes.number[env_ids]
        rng = EpisodeRng(seeds, episodes, self.device, self.sim.dtype)
        env_ids = env_ids.to(self.device)
        self.sim.reset(env_ids)
        self.task.reset(self.sim, env_ids, rng)
        if self._randomizer is not None:
            self._randomizer.randomize(env_ids, seeds, episodes)
        self.sim.forward(env_ids)
        self.sim.faults()  # a fault while placing them is not one of the episode

    def _output(self, value: Any) -> Any:
        return value if self.array == "torch" else to_numpy(value)

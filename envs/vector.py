"""The face: a Gymnasium VectorEnv whose observations, rewards and flags are torch tensors."""

import warnings

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from envs.backend import make_engine, make_renderer
from envs.checks import (
    camera_index,
    checked_action,
    checked_device,
    control_range,
    cores,
    divisor,
    image_shape,
    one_of,
    positive,
    reset_mask,
    world_seeds,
)
from envs.model import compile_model
from envs.observation import KINDS, Observer
from envs.randomize import Looks, Randomization
from envs.suite.task import Draw, Task

AUTORESET = {
    "same_step": AutoresetMode.SAME_STEP,
    "next_step": AutoresetMode.NEXT_STEP,
    "disabled": AutoresetMode.DISABLED,
}
REMEDY = {
    "contact_overflow": "raise the task's needs_contacts",
    "constraint_overflow": "raise the task's needs_rows",
    "non_finite": "the physics diverged: check the model, its timestep and the actions",
}


class BatchedEnv(VectorEnv):
    """N worlds of one task, stepped and drawn together.

    Observations are pictures, uint8 (N, 3, H, W); rewards are float32 (N,), summed over the
    action repeat; terminated and truncated are bool (N,). All live on `device`. Episodes are
    truncated after the task's frames; a world is terminated only when its physics fails.

    World i draws its episodes from `seed + i`, whatever the number of worlds or threads.

    Args:
        task: what is rewarded and where episodes start.
        num_envs: N.
        device: "cpu" (MuJoCo's C engine) or "cuda" (mujoco-warp).
        engine: "c" or "warp"; None for the one that suits the device. "warp" on the CPU is only
            for trying it: a hundred times slower.
        seed: where the worlds' random numbers begin.
        image_size: side of the square picture, or (H, W), in pixels.
        rays: how many rays a pixel is the mean of. 2 smooth edges nearly as dm_control's OpenGL
            does, 4 more at half the speed; 1 leaves them jagged.
        action_repeat: control steps a decision lasts; it must divide the task's frames.
        camera: the model's camera, by name or index; None for the task's own.
        obs: "pixels", "proprio" (no picture is drawn) or "both", a dictionary.
        frame_stack: how many pictures an observation has: (N, 3 * frame_stack, H, W).
        array: "torch", or "numpy" for wrappers that know nothing else.
        autoreset: "same_step", "next_step" or "disabled", as Gymnasium defines them.
        threads: how many threads draw on the CPU; None for one a core this process may use.
        randomization: how much looks vary between worlds and episodes, and what moves behind.
        render_mode: "rgb_array" makes `render` return pictures of `render_size`.
        render_size: side, or (H, W), of what `render` returns.

    Raises:
        ValueError: an argument is out of range; the sentence says which and what to give.
    """

    num_choices: int | None = None  # the actions are continuous: they are not chosen from a list

    def __init__(
        self,
        task: Task,
        num_envs: int = 1,
        *,
        device: str | torch.device = "cpu",
        engine: str | None = None,
        seed: int = 0,
        image_size: int | tuple[int, int] = 64,
        rays: int = 2,
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
        self.action_repeat = divisor(task.frames, action_repeat)
        self.episode_decisions = task.frames // self.action_repeat
        self.autoreset = one_of("autoreset", autoreset, AUTORESET)
        self.array = one_of("array", array, ("torch", "numpy"))
        self.render_mode = one_of("render_mode", render_mode, (None, "rgb_array"))
        self.render_size = image_shape("render_size", render_size)
        self.threads = min(positive("threads", threads or cores()), num_envs)
        self.model = compile_model(task.spec())
        self._model_name = self.model.names.split(b"\0")[0].decode()
        self._every_world = torch.arange(self.num_envs, device=self.device)
        self.camera = camera_index(self.model, task.camera if camera is None else camera)
        self.substeps = task.substeps(self.model)
        self.sim = make_engine(engine, self.model, self.num_envs, self.device, task)
        self._rays = positive("rays", rays)
        one_of("obs", obs, KINDS)
        size, stack = image_shape("image_size", image_size), positive("frame_stack", frame_stack)
        self._looks = None if randomization is None else Looks(randomization, self.sim)
        renderer = None if obs == "proprio" else self._renderer(size)
        self._large_renderer = None  # made when first asked for
        self._start_counting(seed)
        self._observer = Observer(obs, self.proprio, renderer, stack)
        self._make_spaces()

    # ---- construction

    def _start_counting(self, seed: int) -> None:
        self._faults = dict.fromkeys(REMEDY, 0)
        self._seeds = world_seeds(seed, self.num_envs)
        self._episode = torch.full((self.num_envs,), -1)  # counts from 0 at the first reset
        self._decision = torch.zeros(self.num_envs, dtype=torch.long)  # within the episode
        self._ended = torch.zeros(self.num_envs, dtype=torch.bool)  # and not reset yet
        self._start(torch.ones(self.num_envs, dtype=torch.bool))
        self._episode.fill_(-1)  # the first reset() is episode 0

    def _renderer(self, size: tuple[int, int]):
        looks = self._looks
        how = (self.sim, size, self.camera, self.threads, self._rays)
        if looks is None:
            return make_renderer(*how)
        renderer = make_renderer(*how, looks.needs_geoms)
        return looks.shown_in(renderer, lambda: self._decision * self.action_repeat)

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

    def reset(self, *, seed: int | list[int] | None = None, options: dict | None = None):
        """Starts new episodes.

        Args:
            seed: world i draws from seed + i (or from seed[i]), starting with its episode 0;
                None goes on with each world's next episode.
            options: {"reset_mask": (N,) bool} resets only those worlds.

        Returns:
            obs, uint8 (N, 3, H, W) unless asked otherwise, and an empty info.

        Raises:
            ValueError: a reset_mask that is not (N,) bool, or as many seeds as worlds not given.
        """
        mask = reset_mask(options, self.num_envs)
        if seed is not None:
            self._seeds = torch.where(mask, world_seeds(seed, self.num_envs), self._seeds)
            self._episode[mask] = -1
        self._start(mask)
        return self._out(self._observer.after_reset(mask)), {}

    def step(self, action):
        """One decision in every world: the action is repeated and its rewards are summed.

        Args:
            action: torch or numpy, (N, A), within the action space.

        Returns:
            obs (N, 3, H, W) uint8, reward (N,) float32, terminated (N,) bool, truncated (N,) bool
            and info. Under "same_step", where an episode ended obs already shows the next one;
            info["final_obs"] (N, 3, H, W) then holds the last pictures of the ended episodes, in
            the worlds marked by info["_final_obs"] (N,).

        Raises:
            ValueError: an action of another shape, not finite or out of bounds; a world that ended
                and was not reset under "disabled".
        """
        action = self._checked(action)
        resume = self._ended.clone()  # worlds whose step is their reset, under next_step
        if resume.any() and self.autoreset == "disabled":
            which = resume.nonzero()[:, 0].tolist()
            raise ValueError(
                f"Worlds {which} have ended: call reset(options={{'reset_mask': mask}}) for them."
            )
        reward = self._advance(action)
        self._decision += 1
        terminated = self._failed()
        truncated = (self._decision >= self.episode_decisions) & ~terminated
        if resume.any():
            self._start(resume)
            terminated, truncated = terminated & ~resume, truncated & ~resume
            reward = reward.masked_fill(resume.to(self.device), 0.0)
        self._ended = terminated | truncated
        reward = reward.masked_fill(terminated.to(self.device), 0.0).float()
        obs, info = self._observer.after_step(began=resume), {}
        if self._ended.any() and self.autoreset == "same_step":
            ended = self._ended
            info = {"final_obs": obs, "_final_obs": ended.to(self.device)}
            self._start(ended)
            obs = self._observer.after_reset(ended)
        terminated, truncated = terminated.to(self.device), truncated.to(self.device)
        return self._out((obs, reward, terminated, truncated, info))

    def render(self) -> np.ndarray | None:
        """Pictures of all worlds as they stand, numpy uint8 (N, H, W, 3), of `render_size`.

        None unless render_mode is "rgb_array".
        """
        if self.render_mode is None:
            return None
        if self._large_renderer is None:
            self._large_renderer = self._renderer(self.render_size)
        return self._large_renderer.draw().permute(0, 2, 3, 1).cpu().numpy().copy()

    def close_extras(self, **kwargs) -> None:
        """Ends the drawing threads."""
        self._observer.close()
        if self._large_renderer is not None:
            self._large_renderer.close()

    # ---- beyond Gymnasium

    def proprio(self) -> Tensor:
        """The state as dm_control observes it, flattened in its order: float32 (N, P)."""
        parts = self.task.proprio(self.sim).values()
        return torch.cat([p.reshape(self.num_envs, -1) for p in parts], 1).float()

    @property
    def proprio_names(self) -> list[str]:
        """What each of `proprio`'s P numbers is, e.g. "velocity[3]"."""
        names = []
        for name, part in self.task.proprio(self.sim).items():
            count = part[0].numel()
            names += [name] if part.ndim == 1 else [f"{name}[{i}]" for i in range(count)]
        return names

    def faults(self) -> dict[str, int]:
        """How often, since the beginning, a world's physics failed, by kind of failure."""
        return dict(self._faults)

    def state(self) -> dict[str, Tensor | dict | str]:
        """All that the future depends on, for `set_state`: tensors on the CPU."""
        physics = {name: value.cpu() for name, value in self.sim.state().items()}
        return physics | {
            "model": self._model_name,
            "seeds": self._seeds.clone(),
            "episode": self._episode.clone(),
            "decision": self._decision.clone(),
            "ended": self._ended.clone(),
            "faults": dict(self._faults),
            **self._observer.state(),
        }

    def set_state(self, state: dict[str, Tensor | dict | str]) -> None:
        """Goes on from what `state` returned, bit for bit on the CPU.

        Raises:
            ValueError: the state is of another task, engine or number of worlds.
        """
        mine = self.state()
        shapes = {k: tuple(v.shape) for k, v in mine.items() if isinstance(v, Tensor)}
        given = {k: tuple(v.shape) for k, v in state.items() if isinstance(v, Tensor)}
        if (other := state.get("model", self._model_name)) != self._model_name:
            raise ValueError(
                f"This state is of a {other!r}, this environment has a {self._model_name!r}: make "
                "it with the same task."
            )
        if shapes != given:
            raise ValueError(
                f"This state does not fit: its tensors are {given}, this environment's {shapes}; "
                "make the environment with the same task, device and num_envs."
            )
        if self._looks is not None:
            self._looks.draw(self._every_world, state["seeds"], state["episode"])
        self.sim.set_state(state)
        self._seeds, self._episode = state["seeds"].clone(), state["episode"].clone()
        self._decision, self._ended = state["decision"].clone(), state["ended"].clone()
        self._faults = dict(state["faults"])
        self._observer.set_state(state)

    def observe(self):
        """The latest observation again, as `step` or `reset` returned it."""
        return self._out(self._observer.current())

    # ---- the worlds

    def _advance(self, action: Tensor) -> Tensor:
        """Repeats the action (N, A); returns the summed reward (N,)."""
        self.sim.ctrl.copy_(self._middle + self._half * action)
        reward = torch.zeros(self.num_envs, dtype=self.sim.dtype, device=self.device)
        for _ in range(self.action_repeat):
            self.sim.step(self.substeps)
            reward += self.task.reward(self.sim)
        return reward

    def _start(self, mask: Tensor) -> None:
        """Begins the next episode of the worlds in `mask` (N,)."""
        self._episode += mask
        self._decision[mask] = 0
        self._ended = self._ended & ~mask
        worlds = mask.nonzero()[:, 0]  # (K,)
        seeds, episodes = self._seeds[worlds], self._episode[worlds]
        draw = Draw(seeds, episodes, self.device, self.sim.dtype)
        worlds = worlds.to(self.device)
        self.sim.reset(worlds)
        self.task.reset(self.sim, worlds, draw)
        if self._looks is not None:
            self._looks.draw(worlds, seeds, episodes)
        self.sim.forward(worlds)
        self.sim.faulty()  # what placing them raised is no fault of the episode

    def _out(self, value):
        """Torch tensors as the caller wants them: as they are, or numpy."""
        if self.array == "torch":
            return value
        if isinstance(value, Tensor):
            return value.cpu().numpy()
        if isinstance(value, dict):
            return {k: self._out(v) for k, v in value.items()}
        return tuple(self._out(v) for v in value)

    def _failed(self) -> Tensor:
        """Which worlds' physics failed in this step, (N,); counts them and says so once."""
        failed = torch.zeros(self.num_envs, dtype=torch.bool)
        for kind, worlds in self.sim.faulty().items():
            worlds = worlds.cpu()
            count = int(worlds.sum())
            if count and not self._faults[kind]:
                which = worlds.nonzero()[:8, 0].tolist()
                warnings.warn(f"{kind} in worlds {which}: {REMEDY[kind]}.", stacklevel=3)
            self._faults[kind] += count
            failed |= worlds
        return failed

    def _checked(self, action) -> Tensor:
        """The action as the engine wants it, (N, A)."""
        action = torch.as_tensor(action, device=self.device)
        checked_action(action, (self.num_envs, self.model.nu))
        return action.to(self.sim.dtype).clamp(-1, 1)

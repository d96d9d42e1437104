"""Physics on CUDA: mujoco-warp, in single precision, replayed as CUDA graphs."""

# ruff: noqa: D102 - what the methods do is said once, in Engine

import gc
from collections.abc import Callable

import envs.quiet_warp  # noqa: F401  (before mujoco_warp, which initialises Warp)

import mujoco  # isort: skip
import mujoco_warp as mjw
import numpy as np
import torch
import warp as wp
from torch import Tensor

from envs.engine import DERIVED, Engine

STATE = ("time", "qpos", "qvel", "act", "ctrl", "mocap_pos", "mocap_quat", "qacc_warmstart")
KEPT = ("time", "qpos", "qvel", "act", "qacc_warmstart")  # of other worlds, while some settle
OVERFLOWS = {
    "contact_overflow": mjw.OverflowType.BROADPHASE
    | mjw.OverflowType.NARROWPHASE
    | mjw.OverflowType.CCD,
    "constraint_overflow": mjw.OverflowType.NEFC | mjw.OverflowType.NJMAX_NNZ,
}


@wp.kernel(enable_backward=False)
def _refresh(
    current: wp.array2d[float], of_acceleration: wp.array[wp.bool], kept: wp.array2d[float]
):
    """Copies the sensors of position and velocity only."""
    world, i = wp.tid()
    if not of_acceleration[i]:
        kept[world, i] = current[world, i]


class Programs:
    """Functions that launch Warp kernels: on CUDA each is captured once and replayed as a graph.

    Replays run on torch's current stream, so that torch and Warp need not wait for each other.

    Args:
        device: where the kernels run.
    """

    def __init__(self, device: torch.device):
        self.device, self._graphs = device, {}

    def run(self, name, function: Callable[[], None]) -> None:
        """Runs `function`, or replays what was captured under its `name`.

        What it launches must not depend on anything but the contents of fixed arrays, and its
        kernels must have run before, so that none is compiled during the capture.
        """
        if self.device.type == "cpu":
            with wp.ScopedDevice("cpu"):
                function()
            return
        if name not in self._graphs:
            self._graphs[name] = self._capture(function)
        stream = wp.stream_from_torch(torch.cuda.current_stream(self.device))
        wp.capture_launch(self._graphs[name], stream=stream)

    def eager(self, function: Callable[[], None]) -> None:
        """Runs `function` at once and waits for it: the first time, when kernels are compiled."""
        with wp.ScopedDevice(str(self.device)):
            function()
            wp.synchronize_device()

    def forget(self) -> None:
        """Captures anew when next run: an array that was captured has been replaced."""
        self._graphs.clear()

    def _capture(self, function: Callable[[], None]):
        torch.cuda.synchronize(self.device)
        gc.disable()  # an array freed during a capture would spoil it
        try:
            capture = wp.ScopedCapture(device=str(self.device), force_module_load=False)
            with wp.ScopedDevice(str(self.device)), capture:
                function()
        finally:
            gc.enable()
        return capture.graph


class WarpEngine(Engine):
    """mujoco-warp behind the engine's face.

    Sensors are kept in a buffer of its own: mujoco-warp zeroes those of acceleration (touch,
    accelerometer) when it makes those of position and velocity current.

    Args:
        model: the compiled model.
        num_worlds: N.
        device: "cuda", or "cpu" to try the code without a GPU, a hundred times slower than the
            C engine.
        contacts: how many contacts a world may have on average.
        rows: how many constraint rows a world may have.
    """

    def __init__(self, model: mujoco.MjModel, num_worlds: int, device="cuda", contacts=24, rows=96):
        self.model, self.num_worlds = model, num_worlds
        self.device, self.dtype = torch.device(device), torch.float32
        self.programs = Programs(self.device)
        with wp.ScopedDevice(str(self.device)):
            self.warp_model = mjw.put_model(model)
            self.warp_model.opt.warn_overflow = False  # it prints every step; faulty() reports
            self.data = mjw.make_data(model, nworld=num_worlds, nconmax=contacts, njmax=rows)
            self._mask = wp.zeros(num_worlds, dtype=wp.bool)
            stage = model.sensor_needstage == mujoco.mjtStage.mjSTAGE_ACC
            of_acceleration = np.repeat(stage, model.sensor_dim)  # (sensordata,)
            self._of_acceleration = wp.array(of_acceleration, dtype=wp.bool)
            self._sensors = wp.zeros_like(self.data.sensordata)
        for name in {*STATE, *DERIVED} - {"sensordata"}:
            setattr(self, name, wp.to_torch(getattr(self.data, name)))
        self.sensordata = wp.to_torch(self._sensors)  # (N, S)
        self._current_sensors = wp.to_torch(self.data.sensordata)
        self._mask_view = wp.to_torch(self._mask)  # (N,) bool
        self._overflow = wp.to_torch(self.data.overflow)  # (N,) bits
        self._contact_count = wp.to_torch(self.data.nacon)  # (1,), of all worlds
        self._contact_world = wp.to_torch(self.data.contact.worldid)
        for program in (self._forward, lambda: self._step(1), self._reset):
            self.programs.eager(program)  # compiles
        self.reset(torch.arange(num_worlds, device=self.device))

    # ---- what is captured

    def _step(self, substeps: int) -> None:
        m, d = self.warp_model, self.data
        runge_kutta = m.opt.integrator == mujoco.mjtIntegrator.mjINT_RK4
        for substep in range(substeps):
            last = substep == substeps - 1
            mjw.step(m, d) if runge_kutta else mjw.step2(m, d)
            if last:
                wp.copy(self._sensors, d.sensordata)
            if last or not runge_kutta:
                mjw.step1(m, d)
        self._refresh_sensors()

    def _refresh_sensors(self) -> None:
        inputs = [self.data.sensordata, self._of_acceleration, self._sensors]
        wp.launch(_refresh, dim=self._sensors.shape, inputs=inputs)

    def _forward(self) -> None:
        option = self.warp_model.opt
        flags = option.disableflags
        option.disableflags = flags | int(mujoco.mjtDisableBit.mjDSBL_ACTUATION)
        mjw.forward(self.warp_model, self.data)
        option.disableflags = flags

    def _catch_up(self) -> None:
        """Position- and velocity-dependent fields, and what the next step starts from."""
        mjw.step1(self.warp_model, self.data)
        self._refresh_sensors()

    def _reset(self) -> None:
        mjw.reset_data(self.warp_model, self.data, reset=self._mask)

    # ---- the engine's face

    def step(self, substeps: int) -> None:
        self.programs.run(("step", substeps), lambda: self._step(substeps))

    def reset(self, worlds: Tensor) -> None:
        self._mask_view.zero_()
        self._mask_view[worlds] = True
        self.programs.run("reset", self._reset)
        self.sensordata[worlds] = 0.0

    def forward(self, worlds: Tensor) -> None:
        self.programs.run("forward", self._forward)
        self.sensordata[worlds] = self._current_sensors[worlds]
        self.programs.run("catch_up", self._catch_up)

    def settle(self, worlds: Tensor, substeps: int) -> None:
        others = torch.ones(self.num_worlds, dtype=torch.bool, device=self.device)
        others[worlds] = False
        kept = {name: getattr(self, name)[others] for name in KEPT}
        sensors = self.sensordata[others]
        self.programs.run("catch_up", self._catch_up)  # the worlds were written to
        for _ in range(substeps):
            self.step(1)
        for name, values in kept.items():
            getattr(self, name)[others] = values
        self.time[worlds] = 0.0
        self.programs.run("catch_up", self._catch_up)
        self.sensordata[others] = sensors

    def touching(self, worlds: Tensor) -> Tensor:
        touches = torch.zeros(self.num_worlds, dtype=torch.bool, device=self.device)
        count = min(int(self._contact_count), len(self._contact_world))
        touches[self._contact_world[:count].long()] = True
        return touches[worlds]

    def _expand(self, name: str) -> Tensor:
        usual = getattr(self.warp_model, name)  # (1, ...), shared by the worlds
        shared = wp.to_torch(usual)[:1]
        values = shared.repeat(self.num_worlds, *[1] * (shared.ndim - 1))
        setattr(self.warp_model, name, wp.from_torch(values, dtype=usual.dtype))
        self.programs.forget()
        return values

    def faulty(self) -> dict[str, Tensor]:
        found = {name: (self._overflow & int(bits)) != 0 for name, bits in OVERFLOWS.items()}
        finite = self.qpos.isfinite().all(1) & self.qvel.isfinite().all(1)
        self._overflow.zero_()
        return found | {"non_finite": ~finite}

    def state(self) -> dict[str, Tensor]:
        own = {name: values.clone() for name, values in self.expanded.items()}
        return own | {name: getattr(self, name).clone() for name in (*STATE, "sensordata")}

    def set_state(self, state: dict[str, Tensor]) -> None:
        for name, values in self.expanded.items():
            values.copy_(state[name])
        for name in STATE:
            getattr(self, name).copy_(state[name])
        self.programs.run("catch_up", self._catch_up)
        self.sensordata.copy_(state["sensordata"])

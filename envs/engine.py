"""What an engine that steps many worlds at once offers to the tasks."""

import abc
import functools

import mujoco
import torch
from torch import Tensor

# Derived quantities that tasks and pictures are made of; state (qpos, qvel, act, ctrl, time,
# mocap_pos, ...) is always there.
DERIVED = (
    "sensordata",
    "xpos",
    "xmat",
    "xquat",
    "xipos",
    "geom_xpos",
    "geom_xmat",
    "site_xpos",
    "site_xmat",
    "cam_xpos",
    "cam_xmat",
    "light_xpos",
    "light_xdir",
)


class Engine(abc.ABC):
    """N worlds of one model, stepped together; fields are live torch views.

    Every MuJoCo field of `DERIVED` and of the state is an attribute under MuJoCo's own name, with
    the worlds as first axis and 3x3 matrices as such: `qpos` is (N, nq), `xmat` (N, nbody, 3, 3).
    State fields may be written in place; call `forward` afterwards.

    Attributes:
        model: the compiled MjModel.
        num_worlds: N.
        device, dtype: where the fields live and their floating type.
    """

    model: mujoco.MjModel
    num_worlds: int
    device: torch.device
    dtype: torch.dtype

    @abc.abstractmethod
    def step(self, substeps: int) -> None:
        """Advances all worlds; position- and velocity-dependent fields are current afterwards,
        acceleration-dependent sensors (touch, accelerometer) are those of the last substep."""

    @abc.abstractmethod
    def reset(self, worlds: Tensor) -> None:
        """Sets the worlds (K,) to the model's defaults; `forward` them before reading fields."""

    @abc.abstractmethod
    def forward(self, worlds: Tensor) -> None:
        """Computes the derived fields of worlds (K,) at their state, with the actuators off."""

    @abc.abstractmethod
    def settle(self, worlds: Tensor, substeps: int) -> None:
        """Advances only the worlds (K,), then sets their clocks to zero."""

    @abc.abstractmethod
    def touching(self, worlds: Tensor) -> Tensor:
        """Which of the worlds (K,), forwarded as they are, have a contact: (K,) bool."""

    def expand(self, name: str) -> Tensor:
        """Gives each world its own values of a model's field: a live tensor (N, ...).

        Called again it returns the same tensor. The values outlive `reset`.
        """
        if name not in self.expanded:
            self.expanded[name] = self._expand(name)
        return self.expanded[name]

    @functools.cached_property
    def expanded(self) -> dict[str, Tensor]:
        """The fields of the model of which each world has its own values."""
        return {}

    @abc.abstractmethod
    def _expand(self, name: str) -> Tensor:
        """What `expand` returns the first time."""

    @abc.abstractmethod
    def faulty(self) -> dict[str, Tensor]:
        """Which worlds went wrong since the last call: name of the fault to (N,) bool."""

    @abc.abstractmethod
    def state(self) -> dict[str, Tensor]:
        """A copy of all that the next step depends on."""

    @abc.abstractmethod
    def set_state(self, state: dict[str, Tensor]) -> None:
        """Puts back what `state` returned."""

    @functools.cached_property
    def _found(self) -> dict:
        """What has been looked up by name: looking takes longer than a small reward."""
        return {}

    def sensor(self, name: str) -> Tensor:
        """The sensor's reading, a (N, dim) view."""
        key = "reading", name
        if key not in self._found:
            first, dim = self.model.sensor(name).adr[0], self.model.sensor(name).dim[0]
            self._found[key] = self.sensordata[:, first : first + dim]
        return self._found[key]

    def body(self, name: str) -> int:
        """The body's index."""
        return self._index("body", name, "id")

    def geom(self, name: str) -> int:
        """The geom's index."""
        return self._index("geom", name, "id")

    def site(self, name: str) -> int:
        """The site's index."""
        return self._index("site", name, "id")

    def joint(self, name: str) -> int:
        """Where the joint's coordinates begin in `qpos`."""
        return self._index("joint", name, "qposadr")

    def dof(self, name: str) -> int:
        """Where the joint's velocities begin in `qvel`."""
        return self._index("joint", name, "dofadr")

    def mocap(self, name: str) -> int:
        """The body's index in `mocap_pos`."""
        return self._index("body", name, "mocapid")

    def _index(self, kind: str, name: str, attribute: str) -> int:
        key = kind, name, attribute
        if key not in self._found:
            value = getattr(getattr(self.model, kind)(name), attribute)
            self._found[key] = int(value if attribute == "id" else value[0])
        return self._found[key]

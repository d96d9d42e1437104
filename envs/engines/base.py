"""What an engine that steps many environments at once offers to the tasks."""

import abc
import functools

import mujoco
import torch
from torch import Tensor

# The state of the physics; every engine has these fields.
PHYSICS_STATE = (
    "time",
    "qpos",
    "qvel",
    "act",
    "ctrl",
    "mocap_pos",
    "mocap_quat",
    "qacc_warmstart",
)
# Quantities derived from it, of which tasks and images are made.
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
    """N environments of one model, stepped together; fields are live torch views.

    Every MuJoCo field of `PHYSICS_STATE` and `DERIVED` is an attribute under MuJoCo's own name,
    with the environments as first axis and 3x3 matrices as such: `qpos` is (N, nq), `xmat`
    (N, nbody, 3, 3). State fields may be written in place; call `forward` afterwards.

    Attributes:
        model: the compiled MjModel.
        num_envs: N.
        device: where the fields are.
        dtype: their floating type.
    """

    model: mujoco.MjModel
    num_envs: int
    device: torch.device
    dtype: torch.dtype

    time: Tensor
    qpos: Tensor
    qvel: Tensor
    act: Tensor
    ctrl: Tensor
    mocap_pos: Tensor
    mocap_quat: Tensor
    qacc_warmstart: Tensor
    sensordata: Tensor
    xpos: Tensor
    xmat: Tensor
    xquat: Tensor
    xipos: Tensor
    geom_xpos: Tensor
    geom_xmat: Tensor
    site_xpos: Tensor
    site_xmat: Tensor
    cam_xpos: Tensor
    cam_xmat: Tensor
    light_xpos: Tensor
    light_xdir: Tensor

    @abc.abstractmethod
    def step(self, substeps: int) -> None:
        """Advance all environments by physics steps.

        Afterwards, fields that depend on position and velocity are current;
        acceleration-dependent sensors (touch, accelerometer) are those of the last substep.
        """

    @abc.abstractmethod
    def reset(self, env_ids: Tensor) -> None:
        """Set environments (K,) to the model's defaults; `forward` them before reading fields."""

    @abc.abstractmethod
    def forward(self, env_ids: Tensor) -> None:
        """Compute the derived fields of environments (K,) at their state, with actuators off."""

    @abc.abstractmethod
    def settle(self, env_ids: Tensor, substeps: int) -> None:
        """Advance environments (K,) only, then set their clocks to zero."""

    @abc.abstractmethod
    def touching(self, env_ids: Tensor) -> Tensor:
        """Return which of the environments (K,), after `forward`, have a contact: (K,) bool."""

    @abc.abstractmethod
    def faults(self) -> dict[str, Tensor]:
        """Return the environments that failed since the last call: kind of fault to (N,) bool."""

    @abc.abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Return a copy of everything that the next step depends on."""

    @abc.abstractmethod
    def set_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned."""

    @abc.abstractmethod
    def _expand(self, name: str) -> Tensor:
        """Make the tensor that `expand` returns."""

    def expand(self, name: str) -> Tensor:
        """Give each environment its own values of a model field: a live tensor (N, ...).

        Further calls return the same tensor. The values outlive `reset`.
        """
        if name not in self.expanded:
            self.expanded[name] = self._expand(name)
        return self.expanded[name]

    @functools.cached_property
    def expanded(self) -> dict[str, Tensor]:
        """Model fields with values of their own for each environment."""
        return {}

    @functools.cached_property
    def _lookups(self) -> dict:
        """Cache of name lookups, which cost more than computing a small reward."""
        return {}

    def sensor(self, name: str) -> Tensor:
        """Return the sensor's reading, a (N, dim) view."""
        key = "reading", name
        if key not in self._lookups:
            first, dim = self.model.sensor(name).adr[0], self.model.sensor(name).dim[0]
            self._lookups[key] = self.sensordata[:, first : first + dim]
        return self._lookups[key]

    def body(self, name: str) -> int:
        """Return the body's index."""
        return self._index("body", name, "id")

    def geom(self, name: str) -> int:
        """Return the geom's index."""
        return self._index("geom", name, "id")

    def site(self, name: str) -> int:
        """Return the site's index."""
        return self._index("site", name, "id")

    def joint(self, name: str) -> int:
        """Return the index in `qpos` of the joint's first coordinate."""
        return self._index("joint", name, "qposadr")

    def dof(self, name: str) -> int:
        """Return the index in `qvel` of the joint's first velocity."""
        return self._index("joint", name, "dofadr")

    def mocap(self, name: str) -> int:
        """Return the body's index in `mocap_pos`."""
        return self._index("body", name, "mocapid")

    def _index(self, kind: str, name: str, attribute: str) -> int:
        key = kind, name, attribute
        if key not in self._lookups:
            value = getattr(getattr(self.model, kind)(name), attribute)
            self._lookups[key] = int(value if attribute == "id" else value[0])
        return self._lookups[key]

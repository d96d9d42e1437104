"""World models that see through an AutoEncoder within Flows (AEF).

Names below are imported on first use, so that an image model does not load the world models.
"""

from importlib import import_module, metadata
from typing import TYPE_CHECKING

from aef_worldmodel.utils.command import prepare

if TYPE_CHECKING:
    from aef_worldmodel.backbone.model import AEFBackbone
    from aef_worldmodel.image_models.model import ImageModel
    from aef_worldmodel.image_models.zoo import AE, AEF, VAE
    from aef_worldmodel.world_models.base import State, WorldModel, WorldModelConfig
    from aef_worldmodel.world_models.config import RecurrentConfig
    from aef_worldmodel.world_models.recurrent import RecurrentWorldModel

__all__ = [
    "AE",
    "AEF",
    "VAE",
    "AEFBackbone",
    "ImageModel",
    "RecurrentConfig",
    "RecurrentWorldModel",
    "State",
    "WorldModel",
    "WorldModelConfig",
    "__version__",
]

_MODULES = {
    "AE": "image_models.zoo",
    "AEF": "image_models.zoo",
    "VAE": "image_models.zoo",
    "AEFBackbone": "backbone.model",
    "ImageModel": "image_models.model",
    "RecurrentConfig": "world_models.config",
    "RecurrentWorldModel": "world_models.recurrent",
    "State": "world_models.base",
    "WorldModel": "world_models.base",
    "WorldModelConfig": "world_models.base",
}

prepare(__name__)
try:
    __version__ = metadata.version("aef-worldmodel")
except metadata.PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+unknown"


def __getattr__(name: str) -> object:
    """Import a public name on its first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)

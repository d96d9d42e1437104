"""Settings for every test: one thread of torch; registries and signals as they were."""

import signal

import hypothesis
import pytest
import torch

from aef_worldmodel.autoencoders.networks import NETWORKS
from aef_worldmodel.autoencoders.registry import AUTOENCODERS
from aef_worldmodel.world_models.base import WORLD_MODELS
from agents.registry import AGENTS
from agents.training.logging.base import LOG_WRITERS

torch.set_num_threads(1)
hypothesis.settings.register_profile("any machine", deadline=None)  # however slow or busy
hypothesis.settings.load_profile("any machine")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
REGISTRIES = (AGENTS, AUTOENCODERS, LOG_WRITERS, NETWORKS, WORLD_MODELS)


@pytest.fixture(autouse=True)
def registries():
    """Forget the names that a test registers, in whatever order tests run."""
    for registry in REGISTRIES:
        registry.discover()
    before = [dict(registry._entries) for registry in REGISTRIES]
    yield
    for registry, entries in zip(REGISTRIES, before, strict=True):
        registry._entries = entries


@pytest.fixture(autouse=True)
def signals():
    """Forget the handlers that a command installs."""
    before = [(number, signal.getsignal(number)) for number in SIGNALS]
    yield
    for number, handler in before:
        signal.signal(number, handler)

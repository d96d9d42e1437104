"""Autoencoders and their networks, each by name: see `registry` and `networks`."""

from aef_worldmodel.autoencoders.aef import ExpandedAEF, PartitionAEF
from aef_worldmodel.autoencoders.base import Autoencoder, Code
from aef_worldmodel.autoencoders.networks import NETWORKS, NetworkPair, make_networks
from aef_worldmodel.autoencoders.registry import AUTOENCODERS, make_autoencoder
from aef_worldmodel.autoencoders.vae import PlainAutoencoder, VariationalAutoencoder

__all__ = [
    "AUTOENCODERS",
    "NETWORKS",
    "Autoencoder",
    "Code",
    "ExpandedAEF",
    "NetworkPair",
    "PartitionAEF",
    "PlainAutoencoder",
    "VariationalAutoencoder",
    "make_autoencoder",
    "make_networks",
]

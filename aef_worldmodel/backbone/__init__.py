"""Pretrained encoders for other programs: `AEFBackbone.from_pretrained("dmc")`."""

from aef_worldmodel.backbone.model import AEFBackbone

__all__ = ["AEFBackbone"]

"""The model card of a backbone: what it was made of, how, and what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aef_worldmodel.backbone.model import AEFBackbone

HEAD = """---
library_name: aef-worldmodel
license: {licence}
tags: [image-feature-extraction, normalizing-flow, autoencoder, world-model]
---

# {title}

An autoencoder within flows (AEF) for images of {height}x{width} pixels: {latent} latents,
{features} features, {parameters:,} parameters, likelihood: {likelihood}.

```python
from aef_worldmodel import AEFBackbone

backbone = AEFBackbone.from_pretrained("{source}").freeze()
latent = backbone(images)  # uint8, or floats in [0, 1]: (N, {channels}, H, W) -> (N, {latent})
```

"""


def model_card(backbone: AEFBackbone) -> str:
    """Return the card as Markdown: the architecture, and each of `facts` as a row of a table."""
    facts = dict(backbone.facts)
    name = facts.pop("name", None)
    channels, height, width = backbone.shape
    text = HEAD.format(
        licence=str(facts.get("licence", "mit")).lower(),
        title=name or "AEFBackbone",
        source=name or "FOLDER",
        channels=channels,
        height=height,
        width=width,
        latent=backbone.latent_dim,
        features=backbone.num_features,
        parameters=sum(p.numel() for p in backbone.parameters()),
        likelihood=backbone.model.likelihood,
    )
    if not facts:
        return text
    rows = "".join(f"| {name} | {_cell(value)} |\n" for name, value in facts.items())
    return f"{text}| | |\n|---|---|\n{rows}"


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")

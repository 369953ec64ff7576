"""The pictures of channels: that of a node by itself, all others side by side in one file.

tiles/0/7.webp    |version 1|version 2|…|example 1|example 2|…
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageOps

from dashboard.shown.channels import kind_name
from dashboard.shown.examples import Shown, shown_examples
from dashboard.shown.graphs import data_url
from dashboard.site.source import Source
from summit_dask.facts.layergraph import Channel

#: Side in pixels and WebP's quality of a node's picture and of a tile: as small as looks well, for there are thousands.
NODE, NODE_QUALITY = 96, 55
TILE, TILE_QUALITY = 64, 50


@dataclass(frozen=True)
class Pictures:
    """What is to be seen of a channel; encoded pictures, `kinds` with what they are."""

    node: bytes
    is_example: bool
    kinds: Sequence[tuple[str, bytes]]
    examples: Sequence[Shown]

    @property
    def tiles(self) -> list[bytes]:
        """The pictures that stand side by side."""
        return [*(picture for _, picture in self.kinds), *(example.picture for example in self.examples)]

    def facts(self, tiles: str | None) -> dict[str, Any]:
        """The file of a channel's picture, and where its tiles are."""
        return {
            "channel": data_url(_webp(_square(self.node, NODE), NODE_QUALITY)) if self.node else None,
            "is_example": self.is_example,
            "kinds": [kind for kind, _ in self.kinds],
            "examples": [{"title": e.title, "text": e.text, "fires": e.fires} for e in self.examples],
            "tiles": tiles if self.tiles else None,
        }


def channels_of(source: Source) -> list[list[Channel]]:
    """Channels of which there may be pictures, by layer."""
    data = source.data
    layers = [layer for layer in data.layers if data.has("pictures", layer.name) or data.has("examples", layer.name)]
    return [[Channel(layer.name, index) for index in range(layer.channels)] for layer in layers]


def pictures_of(source: Source, channel: Channel) -> Pictures:
    """Of one channel; examples only if they are wanted and it is in a graph."""
    stored = source.data.pictures(channel)
    made = {kind: picture for kind, picture in stored.items() if not kind.startswith("dataset-")}
    node = made.pop("channel", b"")
    examples: list[Shown] = []
    if source.examples and channel in source.graph_channels:
        examples = [example for example in shown_examples(source.data, channel) if example.picture]
    is_example = not node and bool(examples)
    return Pictures(
        node=examples[0].picture if is_example else node,
        is_example=is_example,
        kinds=[(kind_name(kind), picture) for kind, picture in made.items()],
        examples=examples,
    )


def side_by_side(pictures: Sequence[bytes]) -> bytes:
    """Some encoded pictures as one."""
    strip = Image.new("RGB", (TILE * len(pictures), TILE))
    for k, picture in enumerate(pictures):
        strip.paste(_square(picture, TILE), (k * TILE, 0))
    return _webp(strip, TILE_QUALITY)


def _square(picture: bytes, side: int) -> Image.Image:
    """Its middle, no larger than wanted; what is smaller becomes as large, for tiles are of one size."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    return image if image.size == (side, side) else ImageOps.fit(image, (side, side), Image.Resampling.LANCZOS)


def _webp(image: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    image.save(file, "WEBP", quality=quality, method=6)
    return file.getvalue()

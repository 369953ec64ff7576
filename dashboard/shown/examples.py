"""The images that excite a channel most, as pages show them: what they are, and where in them it fires."""

import base64
import math
from dataclasses import dataclass
from typing import Any

from dashboard.data import Example, Firing, StoreData
from summit_dask.facts.layergraph import Channel

#: From what share of the picture on it is not said where in it.
_MOST = 0.6

_PLACES = (("upper left", "top", "upper right"), ("left", "middle", "right"), ("lower left", "bottom", "lower right"))


@dataclass(frozen=True)
class Shown:
    """An example: its class, lines that say more, the encoded picture, where the channel fires; the image, if known."""

    title: str
    text: str
    picture: bytes
    fires: dict[str, Any] | None
    image: int | None

    @property
    def label(self) -> str:
        """All of it in one line."""
        return ", ".join(filter(None, [self.title, *self.text.split("\n")]))


def shown_examples(data: StoreData, channel: Channel) -> list[Shown]:
    """Strongest first; those that were imported as pictures have only a number."""
    if stored := data.examples(channel):
        return [
            Shown(
                title=data.label_of_image(example.image),
                text=f"{example.value:.3g}\n{where(example)}",
                picture=example.thumbnail,
                fires=outline_of(example),
                image=example.image,
            )
            for example in stored
        ]
    imported = [picture for kind, picture in data.pictures(channel).items() if kind.startswith("dataset-p-")]
    return [Shown(f"example {n}", "", picture, None, None) for n, picture in enumerate(imported, 1)]


def where(example: Example) -> str:
    """Where in the picture the channel fires, and in how much of it; the crop's place, if no more is known.

    Empty for a picture that can't be opened.
    """
    firing = example.firing
    if firing is None:
        top, left, bottom, right = example.box
        return f"x {left}–{right}, y {top}–{bottom}"
    if math.isnan(firing.share):
        return ""
    if not firing.share:
        return "does not fire"
    if firing.share == 1:
        return "the whole picture"
    return f"{_place(firing)}, {_percent(firing.share)}"


def _place(firing: Firing) -> str:
    if firing.share >= _MOST:
        return "most of it"
    y, x = (min(int(3 * part), 2) for part in firing.centre)
    return _PLACES[y][x]


def _percent(share: float) -> str:
    return "under 1 %" if share < 0.005 else f"{max(1, round(100 * share))} %"


def outline_of(example: Example) -> dict[str, Any] | None:
    """The map over the thumbnail as the browser takes it: two values a byte; and the thumbnail's width by height."""
    if example.firing is None or not example.firing.share > 0:
        return None
    top, left, bottom, right = example.box
    packed = example.firing.map[:, ::2] << 4 | example.firing.map[:, 1::2]
    return {"map": base64.b64encode(packed.tobytes()).decode(), "shape": (right - left) / (bottom - top)}

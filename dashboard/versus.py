"""What the shown graph is held against: the B of a pair, as the address says it.

vs=class:n01735189   vs=store:blurred   vs=image:17   vs=wrong   vs=images:3.8.12   vs=strategy:2   vs=stored
vs=groups:site:A:B
"""

from dataclasses import dataclass
from typing import Literal, Self, get_args
from urllib.parse import quote, unquote

Kind = Literal["class", "store", "image", "right", "wrong", "images", "strategy", "stored", "groups"]
KINDS: tuple[Kind, ...] = get_args(Kind)

#: Kinds that say no more than their word.
BARE: tuple[Kind, ...] = ("right", "wrong", "stored")

#: Kinds that part a class's images: B has some of them, A the others.
PARTED: tuple[Kind, ...] = ("right", "wrong", "images", "strategy")

#: Images that an address can name.
MOST_IMAGES = 200


@dataclass(frozen=True)
class Versus:
    """The other side of a comparison.

    Parameters
    ----------
    kind
        Another class; the class in another store; one image, of whatever class; the class's rightly or wrongly
        classified images, some of its images, or those of one strategy, against its other ones; its graph as it was
        stored, against that selected anew; or, in place of classes, two groups of all images by a column.
    name
        Folder name of the class, name of the store, number of the strategy (from 1 on, by size), or the column and its
        two groups (see `grouped`).
    images
        Of the kinds "image", which has one, and "images".
    """

    kind: Kind
    name: str = ""
    images: tuple[int, ...] = ()

    @classmethod
    def read(cls, text: str) -> Self | None:
        """From its spelling; None for what isn't one."""
        word, _, rest = text.partition(":")
        kind = next((known for known in KINDS if known == word), None)
        if kind is None or bool(rest) == (kind in BARE):
            return None
        if kind == "groups" and rest.count(":") != 2:
            return None
        if kind not in ("image", "images", "strategy"):
            return cls(kind, rest)
        numbers = rest.split(".")[:MOST_IMAGES]
        if not all(number.isascii() and number.isdigit() and len(number) < 10 for number in numbers):
            return None
        if kind != "images" and len(numbers) > 1:
            return None
        images = tuple(sorted({int(number) for number in numbers}))
        return cls(kind, str(images[0])) if kind == "strategy" else cls(kind, images=images)

    @classmethod
    def of_groups(cls, column: str, a: str, b: str) -> Self:
        """Two groups of images by a column."""
        return cls("groups", ":".join(quote(part, safe="") for part in (column, a, b)))

    @property
    def grouped(self) -> tuple[str, str, str]:
        """Of the kind "groups": the column, and the names of its groups A and B."""
        column, a, b = map(unquote, self.name.split(":"))
        return column, a, b

    def __str__(self) -> str:
        """Its spelling; `read` gives an equal one."""
        rest = self.name or ".".join(map(str, self.images))
        return f"{self.kind}:{rest}" if rest else self.kind

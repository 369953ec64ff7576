"""What the shown graph is held against: the B of a pair, as the address says it.

vs=class:n01735189   vs=store:blurred   vs=wrong   vs=images:3.8.12   vs=stored   vs=groups:site:A:B
"""

from dataclasses import dataclass
from typing import Literal, Self, get_args
from urllib.parse import quote, unquote

Kind = Literal["class", "store", "right", "wrong", "images", "stored", "groups"]
KINDS: tuple[Kind, ...] = get_args(Kind)

#: Images that an address can name.
MOST_IMAGES = 200


@dataclass(frozen=True)
class Versus:
    """The other side of a comparison.

    Parameters
    ----------
    kind
        Another class; the class in another store; its rightly or wrongly classified images, against its other ones;
        some of its images, against its other ones; its graph as it was stored, against that selected anew; or, in
        place of classes, two groups of all images by a column.
    name
        Folder name of the class, name of the store, or the column and its two groups (see `grouped`).
    images
        Of the kind "images".
    """

    kind: Kind
    name: str = ""
    images: tuple[int, ...] = ()

    @classmethod
    def read(cls, text: str) -> Self | None:
        """From its spelling; None for what isn't one."""
        word, _, rest = text.partition(":")
        kind = next((known for known in KINDS if known == word), None)
        if kind is None or bool(rest) != (kind in ("class", "store", "images", "groups")):
            return None
        if kind == "groups" and rest.count(":") != 2:
            return None
        if kind != "images":
            return cls(kind, rest)
        numbers = rest.split(".")[:MOST_IMAGES]
        if not all(number.isascii() and number.isdigit() and len(number) < 10 for number in numbers):
            return None
        return cls("images", images=tuple(sorted({int(number) for number in numbers})))

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

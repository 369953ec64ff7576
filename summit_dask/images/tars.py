"""The images of a tar file and their labels, found by walking its headers: no image is read.

n01440764/0001.jpg                    the class is the folder that the image is in
0001.jpg  0001.cls                    WebDataset: members of one key; .cls holds the class
0001.jpg  0001.json                   the same; .json holds an object with the key cls or label
"""

import json
import tarfile
from collections.abc import Iterator
from io import IOBase
from pathlib import PurePosixPath
from typing import NamedTuple

from summit_dask.images.folder import LITTER, ending_of, is_image

LABELS = (".cls", ".json")

#: A label member that is larger holds something else.
LABEL_BYTES = 1 << 20


class Member(NamedTuple):
    """A member of a tar file; `size` bytes from `offset` on."""

    name: str
    offset: int
    size: int

    @property
    def key(self) -> str:
        """What WebDataset calls so: the name up to the first dot of its last part."""
        folder, slash, name = self.name.rpartition("/")
        return f"{folder}{slash}{name.partition('.')[0]}"


class TarListing(NamedTuple):
    """The images of a tar file with their labels, None where there is none, and the other members."""

    images: list[tuple[Member, str | None]]
    others: list[str]


def list_tar(file: IOBase) -> TarListing:
    """Find the images of a tar file.

    Raises
    ------
    ValueError
        If it is no tar file, or cut off.
    Exception
        Whatever `tarfile` and file systems raise.
    """
    members = [member for member in _members(file) if not _is_litter(member.name)]
    images = [member for member in members if is_image(member.name)]
    keys = {member.key for member in images}
    labels: dict[str, str | None] = {}
    others = []
    for member in members:
        if ending_of(member.name) in LABELS and member.key in keys:
            label = _label(file, member)
            labels[member.key] = label if label is not None else labels.get(member.key)
        elif not is_image(member.name):
            others.append(member.name)
    return TarListing([(image, labels.get(image.key) or _folder(image.name)) for image in images], others)


def _members(file: IOBase) -> Iterator[Member]:
    """The regular files, in order."""
    size = file.seek(0, 2)
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            end = member.offset_data + member.size
            if member.size < 0 or member.offset_data <= member.offset or tar.offset <= member.offset:
                raise ValueError(f"the header of {member.name!r} makes no sense")
            if member.isreg() and end > size:
                raise ValueError(f"{member.name!r} should end at byte {end}, and the file has {size}")
            if member.issparse():
                raise ValueError(f"{member.name!r} is stored with holes (--sparse)")
            if member.isreg():
                yield Member(member.name.removeprefix("./"), member.offset_data, member.size)
        end = tar.offset
    _check_end(file, end)


def _check_end(file: IOBase, end: int) -> None:
    """A tar file ends in blocks of zeros; without them it was cut off between two members."""
    file.seek(end)
    rest = file.read(LABEL_BYTES)
    if len(rest) < tarfile.BLOCKSIZE:
        raise ValueError("its end mark is missing")
    if rest.strip(b"\0"):
        raise ValueError("more follows its end mark, as if several had been put together")


def _label(file: IOBase, member: Member) -> str | None:
    if member.size > LABEL_BYTES:
        return None
    file.seek(member.offset)
    text = file.read(member.size).decode("utf-8-sig").strip()
    if ending_of(member.name) == ".cls":
        return text or None
    value = json.loads(text)
    found = [value[key] for key in ("cls", "label") if key in value] if isinstance(value, dict) else []
    return str(found[0]) if found and isinstance(found[0], str | int) else None


def _folder(name: str) -> str | None:
    """The folder that a member is in, None for the top."""
    return PurePosixPath(name).parent.name or None


def _is_litter(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return any(part.startswith(".") or part in LITTER for part in parts)

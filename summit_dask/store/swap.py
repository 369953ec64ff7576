"""How what was drafted takes its place: at once on a disk, step by step in a bucket.

disk      group -> aside, draft -> group           a kill between the two: put back what was moved aside
bucket    note the group, remove the old one,      a kill after the note: take these steps again; readers see the
          copy the draft, its zarr.json last,      group as not there until they are done; a whole store, where it was
          remove the note                          drafted (see `standing_in`)
"""

from collections.abc import Iterator
from pathlib import Path

from upath import UPath

from summit_dask.facts.files import HEAD, Bucket
from summit_dask.facts.location import Location

#: In a bucket's drafts: the group that a draft is taking the place of.
_NOTE = "taking-its-place"


def appear(draft: Location, place: Location) -> None:
    """A folder that was drafted is there, whole or not at all."""
    if isinstance(draft, Path):
        draft.rename(_on_disk(place))
        return
    Bucket(draft).move(_in_bucket(place))
    Bucket(draft).remove()


def replace(place: Location, drafts: Location, group: str) -> None:
    """A drafted group takes the place of the one there was."""
    if isinstance(place, Path):
        _replace_on_disk(place, _on_disk(drafts), group)
        return
    noted = Bucket(_in_bucket(drafts))
    noted.write(_NOTE, group.encode())
    _copy(place, noted, group)


def restore(place: Location, drafts: Location) -> None:
    """Bring to an end what a killed process had begun in `replace`."""
    if isinstance(place, Path):
        _put_back(place, _aside(_on_disk(drafts)))
        return
    noted = Bucket(_in_bucket(drafts))
    if noted.size(_NOTE) is not None:
        _copy(place, noted, noted.read(_NOTE).decode())


def standing_in(drafts: Location, group: str) -> Location | None:
    """In a bucket, the whole draft that is taking the place of a group just now, or was when its process was killed."""
    if isinstance(drafts, Path) or Bucket(drafts).size(_NOTE) is None:
        return None
    return drafts / group


def _on_disk(beside: Location) -> Path:
    assert isinstance(beside, Path), "drafts lie beside their place"
    return beside


def _in_bucket(beside: Location) -> UPath:
    assert not isinstance(beside, Path), "drafts lie beside their place"
    return beside


def _copy(place: UPath, drafts: Bucket, group: str) -> None:
    Bucket(drafts.path / group).move(place / group)
    drafts.drop(_NOTE)  # before any draft goes: it says that they are whole


def _replace_on_disk(place: Path, drafts: Path, group: str) -> None:
    old = place / group
    if old.exists():
        aside = _aside(drafts) / group
        aside.parent.mkdir(parents=True)
        old.rename(aside)
    (drafts / group).rename(old)


def _put_back(place: Path, aside: Path) -> None:
    for group in _groups(aside):
        old = place / group.relative_to(aside)
        if not old.exists():
            group.rename(old)


def _groups(inside: Path) -> Iterator[Path]:
    """The outermost ones."""
    if (inside / HEAD).exists():
        yield inside
    elif inside.is_dir():
        for child in sorted(inside.iterdir()):
            yield from _groups(child)


def _aside(drafts: Path) -> Path:
    return drafts / "moved-aside"

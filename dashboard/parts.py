"""What a store consists of, in plain words, and the commands that make it."""

from collections.abc import Mapping

from summit_dask.facts.pairs import PAPERS, Pair, pair_of
from summit_dask.store.status import makers

#: What each outermost group is, and the command that makes it; the last two are no stages of a run.
PARTS: Mapping[str, tuple[str, str]] = {
    **makers(),
    "pictures": ("pictures of channels", "pictures"),
    "evidence": ("evidence for its graphs", "evidence"),
}


def in_words(group: str) -> str:
    """What a group of a store is; which graphs, if not the paper's."""
    what, _ = PARTS[_outermost(group)]
    pair = pair_of(group)
    return what if pair in (None, PAPERS) else f"{what} with {pair.words}"


def maker(group: str, own: Pair) -> str:
    """The command that makes a group of a store whose own pair of measures is `own`."""
    _, command = PARTS[_outermost(group)]
    pair = pair_of(group)
    return command if pair in (None, own) else f"{command} {pair.flags}"


def _outermost(group: str) -> str:
    return group.partition("/")[0]

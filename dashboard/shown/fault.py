"""What is in the way, in place of a page or of a part of it that is shown by itself."""

from collections.abc import Iterator
from contextlib import contextmanager

from dashboard import components
from summit_dask.facts.errors import StoreError, StoreIncompleteError, StoreVersionError, SummitError

TITLES = {
    StoreVersionError: "This store has another format",
    StoreIncompleteError: "This store lacks that",
    StoreError: "This store can't be read",
}


@contextmanager
def explained() -> Iterator[None]:
    """Around whatever reads a store: an error that a user can mend is told, and the rest is left out."""
    try:
        yield
    except SummitError as error:
        title = next((text for kind, text in TITLES.items() if isinstance(error, kind)), "This can't be shown")
        components.facts("error", title, level=1, note=str(error))

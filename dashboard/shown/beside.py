"""The other stores of the folder: those whose graphs can be held against this one's, and why not the others."""

from collections.abc import Hashable

from dashboard import session
from dashboard.data import StoreData
from dashboard.kept import kept_with_store
from summit_dask.facts.errors import SummitError
from summit_dask.facts.location import Location
from summit_dask.store.places import stamp, stores_in


def others(data: StoreData) -> dict[str, Location]:
    """The other stores, by their names."""
    return {path.name: path for path in stores_in(session.folder()) if path != data.path}


def unlike(data: StoreData) -> dict[str, str]:
    """Why each of them can't be held against this one, by its name; empty for those that can."""
    return {name: _why(data, path, stamp(path)) for name, path in others(data).items()}


def alike(data: StoreData) -> list[str]:
    """Names of the others that can."""
    return [name for name, why in unlike(data).items() if not why]


@kept_with_store(64)
def _why(data: StoreData, path: Location, at: tuple[Hashable, ...]) -> str:
    """As the other store is `at` a time."""
    try:
        return why_unlike(data, StoreData(path))
    except SummitError as error:
        return str(error)


def why_unlike(data: StoreData, other: StoreData) -> str:
    """Why graphs of two stores can't be held against each other; empty if they can."""
    shapes = [[(layer.name, layer.channels) for layer in known.layer_graph.layers] for known in (data, other)]
    if shapes[0] != shapes[1]:
        return "its network has other layers"
    masses = [known.options.mass for known in (data, other)]
    if masses[0] != masses[1]:
        return f"channels are counted with mass {masses[1]:g} there and {masses[0]:g} here"
    return ""

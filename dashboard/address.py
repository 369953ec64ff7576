"""How a record stands in the address: each of its fields is declared with the form that reads and writes it.

    @dataclass(frozen=True)
    class Shown:
        layer: Annotated[str | None, text("layer")] = None          ?layer=stem
        channel: Annotated[int | None, whole("channel")] = None     &channel=3

The address is silent about what has its default. Reading never fails: what can't be understood counts as not said.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar, get_type_hints

from summit_dask.facts.layergraph import Channel

#: An address's parameters, each with all its values.
Query = Mapping[str, Sequence[str]]

Record = TypeVar("Record")


@dataclass(frozen=True)
class Form:
    """How one field stands in the address.

    Parameters
    ----------
    read
        Its value; None where the address doesn't say it, or not so that it can be understood.
    write
        The parameters that say a value.
    """

    read: Callable[[Query], Any]
    write: Callable[[Any], dict[str, list[str]]]


def read(kind: type[Record], query: Query) -> Record:
    """The record that an address says."""
    values = {name: form.read(query) for name, form in _forms(kind).items()}
    return kind(**{name: value for name, value in values.items() if value is not None})


def write(record: Any) -> dict[str, list[str]]:
    """The parameters that say a record; `read` gives an equal one."""
    forms = _forms(type(record))
    query: dict[str, list[str]] = {}
    for known in fields(record):
        value = getattr(record, known.name)
        if value != known.default:
            query |= forms[known.name].write(value)
    return query


def _forms(kind: type) -> dict[str, Form]:
    """The form of each field."""
    return {name: hint.__metadata__[0] for name, hint in get_type_hints(kind, include_extras=True).items()}


# Forms


def text(name: str) -> Form:
    """Any text but an empty one."""
    return _of_one(name, lambda given: given or None)


def texts(name: str) -> Form:
    """Any number of texts that aren't empty, each once: a parameter that stands as often as there are texts."""
    return Form(
        lambda query: tuple(dict.fromkeys(filter(None, query.get(name, ())))) or None, lambda values: {name: [*values]}
    )


def whole(name: str) -> Form:
    """A whole number from 0 on."""
    return _of_one(name, _whole)


def between(name: str, least: float, most: float) -> Form:
    """A number within bounds."""
    return _of_one(name, lambda given: _between(given, least, most), lambda value: f"{value:.6g}")


def choice(name: str, values: Sequence[str]) -> Form:
    """One of some words."""
    return _of_one(name, lambda given: given if given in values else None)


def named(name: str, values: Mapping[str, Any]) -> Form:
    """One of some things, each by its name."""
    names = {value: key for key, value in values.items()}
    return _of_one(name, values.get, names.__getitem__)


def spelled(name: str, understood: Callable[[str], Any]) -> Form:
    """What has a spelling of its own, which `str` gives; None from `understood` counts as not said."""
    return _of_one(name, understood)


def flag(name: str) -> Form:
    """True, or not said."""
    return _of_one(name, lambda given: True if given == "1" else None, lambda value: "1")


def channel(name: str) -> Form:
    """A channel, as two parameters."""
    return Form(lambda query: next(iter(_channels(name, query)), None), lambda value: _pairs(name, [value]))


def channels(name: str) -> Form:
    """Any number of channels, as two parameters that stand as often as there are channels."""
    return Form(lambda query: tuple(_channels(name, query)) or None, lambda values: _pairs(name, values))


def record(kind: type) -> Form:
    """The fields of a record within the record."""
    return Form(lambda query: read(kind, query), write)


def _of_one(name: str, understood: Callable[[str], Any], written: Callable[[Any], str] = str) -> Form:
    """A form of one parameter; of several values the first counts."""

    def read_first(query: Query) -> Any:
        values = query.get(name)
        return understood(values[0]) if values else None

    return Form(read_first, lambda value: {name: [written(value)]})


def _whole(given: str) -> int | None:
    return int(given) if given.isascii() and given.isdigit() and len(given) < 10 else None


def _between(given: str, least: float, most: float) -> float | None:
    try:
        value = float(given)
    except ValueError:
        return None
    return value if least <= value <= most else None


def _channels(name: str, query: Query) -> Iterable[Channel]:
    layers = query.get(f"{name}_layer", ())
    indices = map(_whole, query.get(f"{name}_channel", ()))
    return (Channel(layer, index) for layer, index in zip(layers, indices, strict=False) if index is not None)


def _pairs(name: str, values: Sequence[Channel]) -> dict[str, list[str]]:
    layers = [value.layer for value in values]
    indices = [str(value.index) for value in values]
    return {f"{name}_layer": layers, f"{name}_channel": indices}

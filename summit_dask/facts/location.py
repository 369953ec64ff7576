"""Where files lie: a path of this machine, or an address that fsspec knows (``s3://bucket/store.zarr``).

Both are walked and read in the same way. What is needed to get to an address, keys and the like, is set once in each
process and is never written into a store.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote

from upath import UPath

from summit_dask.facts.errors import ConfigError

Location: TypeAlias = Path | UPath

#: What fsspec's file systems are given, as in ``{"key": ..., "secret": ...}``.
StorageOptions: TypeAlias = Mapping[str, Any]

#: The environment's variable of their JSON.
OPTIONS_VARIABLE = "SUMMIT_DASK_STORAGE_OPTIONS"

_ADDRESS = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+)(::|:/+)", re.IGNORECASE)
_options: dict[str, Any] = {}


def use_storage_options(options: StorageOptions) -> None:
    """Set what this process gives to fsspec's file systems from now on."""
    _options.clear()
    _options.update(options)


def storage_options() -> dict[str, Any]:
    """What this process gives to fsspec's file systems."""
    return dict(_options)


def parsed_options(given: Any) -> dict[str, Any]:
    """Storage options from their JSON, or as a configuration file gives them.

    Raises
    ------
    ConfigError
        If it is no JSON object. What was given is not repeated: it may hold a secret.

    Examples
    --------
    >>> parsed_options('{"anon": true}')
    {'anon': True}
    """
    try:
        options = json.loads(given) if isinstance(given, str) else given
    except ValueError as error:
        raise ConfigError(
            f"--storage-options is no JSON ({error}); give an object, as in '{{\"anon\": true}}'."
        ) from None
    if not (isinstance(options, dict) and all(isinstance(name, str) for name in options)):
        raise ConfigError(
            f"--storage-options is JSON of a {type(options).__name__}; give an object, as in '{{\"anon\": true}}'."
        )
    return options


def is_address(text: str) -> bool:
    """Whether a text is an address, ``file://`` included.

    Examples
    --------
    >>> is_address("s3://bucket/images"), is_address("images/s3"), is_address("C:\\\\images")
    (True, False, False)
    """
    return _ADDRESS.match(text) is not None


def location(text: str | Location) -> Location:
    """The place that a text names; ``file://`` is a path, any other address is reached with this process' options.

    Raises
    ------
    ValueError
        If no file system is known for an address, or its package isn't installed.

    Examples
    --------
    >>> location("file:///data/images")
    PosixPath('/data/images')
    >>> location("memory://data/images").name
    'images'
    """
    match = _ADDRESS.match(str(text))
    if not isinstance(text, str) or match is None:
        return Path(text) if isinstance(text, str) else text
    if match["scheme"].lower() == "file":
        return Path(unquote(text[match.end() - 1 :]))
    try:
        place: UPath = UPath(text, **_options)
        place.fs  # noqa: B018 - imports the file system's package
    except (ValueError, ImportError) as error:
        raise ValueError(f"{text} can't be reached: {error}") from error
    return place

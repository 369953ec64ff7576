"""Where a store lies, and what it takes to get to stores and images at addresses, for every command that opens one."""

from pathlib import Path
from typing import Any

import click

from summit_dask.facts.config import RunConfig
from summit_dask.facts.location import OPTIONS_VARIABLE, Location, location, parsed_options, use_storage_options


def _use(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        use_storage_options(parsed_options(value))


#: Read before the store's address is.
storage_options = click.option(
    "--storage-options",
    help=RunConfig.model_fields["storage_options"].description,
    envvar=OPTIONS_VARIABLE,
    is_eager=True,
    expose_value=False,
    callback=_use,
)


class StorePath(click.ParamType):  # type: ignore[type-arg]  # older versions of click have none
    """A store's folder, its address, or a zip file of it."""

    name = "store"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Location:
        """See `click.ParamType`."""
        try:
            place = location(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)
        return place.expanduser() if isinstance(place, Path) else place


STORE = StorePath()

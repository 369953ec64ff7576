"""What it takes to get to stores and images at addresses, as an option of every command that opens a store."""

import click

from summit_dask.facts.config import RunConfig
from summit_dask.facts.location import parsed_options, use_storage_options


def _use(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        use_storage_options(parsed_options(value))


#: Read before the store's address is.
storage_options = click.option(
    "--storage-options",
    help=RunConfig.model_fields["storage_options"].description,
    envvar="SUMMIT_DASK_STORAGE_OPTIONS",
    is_eager=True,
    expose_value=False,
    callback=_use,
)

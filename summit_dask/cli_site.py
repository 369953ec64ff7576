"""The command that writes a site: the dashboard as files."""

from importlib import import_module
from pathlib import Path

import click

from summit_dask.cli_storage import STORE, storage_options
from summit_dask.facts.errors import ConfigError
from summit_dask.facts.location import Location


@click.command("site")
@click.argument("store", type=STORE)
@storage_options
@click.argument("place", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--classes", multiple=True, help="A class to show, by folder or name, instead of all; may be repeated.")
@click.option(
    "--examples/--no-examples",
    default=False,
    show_default=True,
    help="Whether photographs of the data set go into it. They may not be yours to publish.",
)
@click.option("--credit", default="", help="Whose the pictures are, as the page says it.")
@click.option("--title", default="Summit", show_default=True, help="Title of the page.")
@click.option("--base", help="Address at which all files but index.html will lie; by default beside it.")
@click.option("--single", metavar="CLASS", help="Write the graph of one class as one HTML file, called DIR, instead.")
def site_command(
    store: Location,
    place: Path,
    classes: tuple[str, ...],
    examples: bool,
    credit: str,
    title: str,
    base: str | None,
    single: str | None,
) -> None:
    """Write what the dashboard shows as files that any static host, or a double click, opens."""
    if single is not None and (classes or base):
        raise ConfigError("--single writes one file of one class; leave out --classes and --base.")
    from summit_dask.questions.query import find_class
    from summit_dask.serve import load_dashboard
    from summit_dask.store.tree import open_store

    tree = open_store(store)
    places = [find_class(tree, name) for name in ((single,) if single is not None else classes)]
    load_dashboard()
    site = import_module("dashboard.site.write")
    source = site.open_source(store, places, examples)
    if single is not None:
        site.write_class_page(source, place, title, credit)
        click.echo(f"{place} holds the graph of {single}. Open it in any browser.")
    else:
        n = site.write_site(source, place, title, credit, base)
        click.echo(f"{place}: a site of {n} classes. Open {place / 'index.html'}, or put the folder on any web host.")

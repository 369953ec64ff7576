"""The server: ``python -P dashboard/__main__.py STORE HOST PORT``, followed by any of Streamlit's own options.

What takes long to import is imported before the server answers, so that the first visitor need not wait for it.
"""

import sys
from importlib import import_module
from pathlib import Path

import click

from summit_dask.facts.process import share_freed_memory
from summit_dask.serve import load_dashboard

SLOW = ("pandas", "pyarrow", "zarr", "summit_dask.questions.query", "PIL.Image", "scipy.sparse", "altair")
INTERRUPTED = 130


def main() -> None:
    """Import, say where the server will be, then hand over to Streamlit."""
    if len(sys.argv) < 4:
        sys.exit("Give a store, or a folder of stores, a host and a port: python -m dashboard STORE 127.0.0.1 8501")
    _, store, host, port, *options = sys.argv
    share_freed_memory()
    load_dashboard()
    for name in SLOW:
        import_module(name)
    run = streamlit_run([*_settings(host, port), *options, "--", store])
    print(f"The dashboard of {store} is at {address(host, port)} (Ctrl-C ends it).", flush=True)
    with run:
        run.command.invoke(run)


def streamlit_run(arguments: list[str]) -> click.Context:
    """The command "streamlit run" on our script, its options and STREAMLIT_ variables in force but not yet started."""
    from streamlit.web import bootstrap, cli

    script = Path(__file__).with_name("script.py")
    context: click.Context = cli.main_run.make_context("streamlit run", [str(script), *arguments])
    bootstrap.load_config_options({name: value for name, value in context.params.items() if "_" in name})
    return context


def address(host: str, port: str) -> str:
    """What to open in a browser; how it begins and ends is set in Streamlit's own configuration."""
    from streamlit import config

    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # all addresses of this machine: one of them
    name = here.get(host, host)
    bracketed = f"[{name}]" if ":" in name else name
    protocol = "https" if config.get_option("server.sslCertFile") else "http"
    path = config.get_option("server.baseUrlPath").strip("/")
    return f"{protocol}://{bracketed}:{port}/{path}".rstrip("/")


def _settings(host: str, port: str) -> list[str]:
    """Beside those in .streamlit/config.toml."""
    # The last one stands there too, but is read later, and Streamlit warns of what changes in between.
    settings = {"server.address": host, "server.port": port, "server.fileWatcherType": "none"}
    return [f"--{name}={value}" for name, value in settings.items()]


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)

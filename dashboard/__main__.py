"""Serve the dashboard: ``python -m dashboard STORE``, followed by any of Streamlit's own options.

What takes long to import is imported before the server answers, so that the first visitor need not wait for it.
"""

import sys
from importlib import import_module
from pathlib import Path

from summit_dask.facts.process import share_freed_memory

SLOW = ("pandas", "pyarrow", "zarr", "summit_dask.questions.query", "PIL.Image", "scipy.sparse", "altair")


def main() -> None:
    """Import, then hand over to Streamlit."""
    if len(sys.argv) < 2:
        sys.exit("Give a store, or a folder of stores: python -m dashboard STORE [--server.port 8501 ...]")
    store, *options = sys.argv[1:]
    share_freed_memory()
    for name in SLOW:
        import_module(name)
    from streamlit.web import cli

    sys.argv = ["streamlit", "run", str(Path(__file__).with_name("app.py")), *options, "--", store]
    cli.main()


if __name__ == "__main__":
    main()

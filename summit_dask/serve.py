"""Starts the dashboard in place of this process, by its file: never what the current folder calls `dashboard`.

    cli ── serve ── exec ── dashboard/__main__.py ── Streamlit ── dashboard/script.py ── dashboard/app.py

The folder lies inside this package where it is installed, and beside it in the repository:

    site-packages/summit_dask/serve.py              repository/summit_dask/serve.py
    site-packages/summit_dask/dashboard/app.py      repository/dashboard/app.py

In both its modules know each other as ``dashboard.…``, once `load_dashboard` has found them.
"""

import json
import os
import socket
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import NoReturn

from summit_dask.facts.errors import ConfigError
from summit_dask.facts.location import OPTIONS_VARIABLE, Location, storage_options


def serve(store: Location, host: str, port: int) -> NoReturn:
    """Become the dashboard of a store, or of a folder of stores.

    Raises
    ------
    StoreError
        If the folder is no store and holds none, or its one store can't be read.
    ConfigError
        If it can't listen there.
    """
    # Slow: the server itself, which only loads the dashboard from here, need not wait for them.
    from summit_dask.store.places import stores_in
    from summit_dask.store.store import Store

    place = store.resolve() if isinstance(store, Path) else store
    stores = stores_in(place)
    if len(stores) == 1:
        Store.open(stores[0])
    check_free(host, port)
    main = dashboard_folder() / "__main__.py"
    # -P: else the script's own folder comes first, where any file may stand in for a package of that name.
    command = [sys.executable, "-P", str(main), str(place), host, str(port)]
    if options := storage_options():  # not as an argument, which every process may see
        os.environ[OPTIONS_VARIABLE] = json.dumps(options)
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "posix":  # no child, so a signal to this process is one to the server
        os.execv(sys.executable, command)
    sys.exit(subprocess.run(command, check=False).returncode)


def check_free(host: str, port: int) -> None:
    """Before the address is said: another program's page there would be taken for ours.

    Raises
    ------
    ConfigError
        If the address isn't this machine's, or the port is taken.
    """
    try:
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        raise ConfigError(
            f"Can't listen at {host}, port {port}: {error.strerror or error}. Choose another --port or --host."
        ) from error


def dashboard_folder() -> Path:
    """Where the dashboard lies: inside this package, or beside it."""
    package = Path(__file__).resolve().parent
    inside = package / "dashboard"
    return inside if inside.is_dir() else package.with_name("dashboard")


def load_dashboard() -> None:
    """Have ``import dashboard`` mean ours, whatever else has that name."""
    file = dashboard_folder() / "__init__.py"
    known = getattr(sys.modules.get("dashboard"), "__file__", None)
    if known is not None and Path(known).resolve() == file:
        return
    spec = spec_from_file_location("dashboard", file, submodule_search_locations=[str(file.parent)])
    assert spec is not None and spec.loader is not None, "a file that ends in .py has a loader"
    module = module_from_spec(spec)
    sys.modules["dashboard"] = module
    spec.loader.exec_module(module)

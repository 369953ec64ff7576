"""Who holds a store, for the one who has to wait."""

import os
import socket
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from summit_dask.facts.errors import StoreBusyError
from summit_dask.facts.location import Location


def myself() -> dict[str, str]:
    """This process, as plain facts."""
    now = datetime.now().astimezone().isoformat(" ", "seconds")
    return {"host": socket.gethostname(), "process": str(os.getpid()), "since": now}


def in_words(note: Mapping[str, Any]) -> str:
    """A process by its facts."""
    return f"process {note['process']} on {note['host']}, since {note['since']}"


def busy(path: Location, holder: str, more: str = "") -> StoreBusyError:
    """What to do about a store that another process holds."""
    return StoreBusyError(
        f"{path} is being changed by {holder}. Wait until that has ended, or end it, then give the same command "
        f"again.{more}"
    )

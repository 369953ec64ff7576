"""Many visitors of one dashboard at a time, without a browser: each speaks Streamlit's own protocol over a websocket.

    python benchmarks/stress.py STORE [--sessions 50] [--seconds 120] [--pause 5]

Each session opens a page of some class, waits until all of it has come, looks at it for a while (between half of
--pause and one and a half), and goes on to another page, class, layer or selection. STORE is best one of 1000 classes,
as 'summit-dask import-summit' makes of the original's data, or 'benchmarks/dashboard.py' of none.

reaction     from the visitor's message to the end of the page, seconds: median, nine of ten, slowest
views        pages that came whole
errors       tracebacks on a page, pages that say that they can't be shown, connections that were lost; by what they say
memory       of the server, MB: after the first view, in the middle, at the end, and when all have left

Prints one line of JSON. The exit code is 1 if there was an error.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from urllib.parse import urlencode

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

from dashboard import Server  # of the file beside this one
from summit_dask.store.store import Store

PORT = 8760
#: How often each page is opened: most visitors stay on the first.
PAGES = {"explore": 6, "channel": 2, "layers": 1, "classes": 2, "evidence": 1, "run": 1}


@dataclass
class Tally:
    """What all sessions have seen so far."""

    seconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


async def visit(address: str, tally: Tally, views: Iterator[tuple[str, str]], pause: float, end: float) -> None:
    """One session, until the end."""
    try:
        async with connect(f"{address}/_stcore/stream", subprotocols=["streamlit"], max_size=None) as socket:  # type: ignore[list-item]
            while time.monotonic() < end:
                page, query = next(views)
                start = time.monotonic()
                await _view(socket, page, query, tally.errors)
                tally.seconds.append(time.monotonic() - start)
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))
    except Exception as error:  # whatever ends a session is a finding
        tally.errors[f"{type(error).__name__}: {error}"] += 1


async def _view(socket: ClientConnection, page: str, query: str, errors: Counter[str]) -> None:
    """Ask for a page and take all of it."""
    asked = BackMsg()
    asked.rerun_script.query_string = query
    asked.rerun_script.page_name = "" if page == "explore" else page
    await socket.send(asked.SerializeToString())
    while True:
        message = ForwardMsg.FromString(await socket.recv(decode=False))
        kind = message.WhichOneof("type")
        if kind == "delta":
            errors.update(_faults(message.delta.new_element))
        if kind == "script_finished":
            return


def _faults(element: Any) -> list[str]:
    kind = element.WhichOneof("type")
    if kind == "exception":
        return [f"traceback: {element.exception.message}"]
    if kind == "bidi_component" and element.bidi_component.id.endswith("-error"):
        return [f"page: {element.bidi_component.json or element.bidi_component.mixed.json}"]
    return []


def views_of(store: Store, seed: int) -> Iterator[tuple[str, str]]:
    """Pages and addresses, at random."""
    rng = random.Random(seed)
    classes, layers = store.read("class").tolist(), [layer.name for layer in store.layer_graph.with_maps]
    can_reselect = all(store.has(f"matrices/{hop.name}") for hop in store.layer_graph.hops)
    while True:
        query: dict[str, Any] = {"class": rng.choice(classes), "layer": rng.choice(layers)}
        if rng.random() < 0.1:
            query |= {"search": rng.choice(["wolf", "fish", "o"]), "sort": "name"}
        if can_reselect and rng.random() < 0.2:
            query |= {"p": round(rng.uniform(0.05, 0.2), 3)}
        yield rng.choices(list(PAGES), list(PAGES.values()))[0], urlencode(query)


async def stress(server: Server, store: Store, sessions: int, seconds: float, pause: float) -> dict[str, Any]:
    """All figures of one store."""
    tally = Tally()
    address = server.address.replace("http", "ws")
    await visit(address, tally, views_of(store, sessions), 0, time.monotonic() + 1)
    memory = [server.megabytes()]
    tally.seconds.clear()
    begin = time.monotonic()
    load = os.getloadavg()[0]
    visits = [visit(address, tally, views_of(store, k), pause, begin + seconds) for k in range(sessions)]
    running = asyncio.gather(*visits)
    await asyncio.sleep(seconds / 2)
    memory.append(server.megabytes())
    await running
    memory.append(server.megabytes())
    await asyncio.sleep(10)
    memory.append(server.megabytes())
    return {
        "store": store.path.name,
        "sessions": sessions,
        "seconds": round(time.monotonic() - begin - 10),
        "views": len(tally.seconds),
        "reaction": [
            round(x, 2) for x in (median(tally.seconds), quantiles(tally.seconds, n=10)[-1], max(tally.seconds))
        ],
        "memory_mb": [round(x) for x in memory],
        "errors": dict(tally.errors),
        "load_before": load,
    }


def main() -> None:
    """Measure one store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--sessions", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--pause", type=float, default=5)
    given = parser.parse_args()
    store = given.store.resolve()
    with Server(store, PORT) as server:
        figures = asyncio.run(stress(server, Store.open(store), given.sessions, given.seconds, given.pause))
    print(json.dumps(figures))
    sys.exit(1 if figures["errors"] else 0)


if __name__ == "__main__":
    main()

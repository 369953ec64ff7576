"""A bucket in this process, on a server that speaks S3, and what may go wrong on the way to it."""

import logging
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from moto.server import ThreadedMotoServer
from upath import UPath

from summit_dask.facts.location import storage_options, use_storage_options

#: Of a WSGI request: answers in place of the server, or leaves it to the server by None.
Fault = Callable[[Any, Any], Iterable[bytes] | None]

BUCKET = "bucket"


class S3:
    """A running server; its `fault` is asked before each request."""

    def __init__(self, server: ThreadedMotoServer) -> None:
        running: Any = server._server
        self.url = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
        self.fault: Fault | None = None
        self._app = running.app
        running.app = self

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        """Called by the server."""
        answer = self.fault(environ, start_response) if self.fault else None
        result: Iterable[bytes] = self._app(environ, start_response) if answer is None else answer
        return result

    @property
    def options(self) -> dict[str, Any]:
        """What fsspec needs to get there; botocore would wait for seconds before it tries again."""
        retries = {"retries": {"max_attempts": 0}}
        return {"endpoint_url": self.url, "key": "a", "secret": "b", "config_kwargs": retries}

    def place(self, name: str) -> UPath:
        """A place in the bucket."""
        return UPath(f"s3://{BUCKET}/{name}", **self.options)


@contextmanager
def serving() -> Iterator[S3]:
    """A server with an empty bucket, until the block ends; this process' storage options lead to it."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    before = storage_options()
    s3 = S3(server)
    use_storage_options(s3.options)
    try:
        s3.place("").fs.mkdir(BUCKET)
        yield s3
    finally:
        use_storage_options(before)
        server.stop()


def is_write(environ: Any, part: str) -> bool:
    """Whether a request writes an object whose name holds this."""
    return environ["REQUEST_METHOD"] == "PUT" and part in environ["PATH_INFO"]


def throttled(part: str, times: int) -> Fault:
    """Too many requests, as S3 says it, of the first writes of such objects."""
    left = [times]

    def fault(environ: Any, start_response: Any) -> Iterable[bytes] | None:
        if not is_write(environ, part) or not left[0]:
            return None
        left[0] -= 1
        environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        start_response("503 Slow Down", [("Content-Type", "application/xml")])
        return [b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"]

    return fault


def cut_off(part: str, times: int) -> Fault:
    """The connection ends in the middle of the first writes of such objects."""
    left = [times]

    def fault(environ: Any, start_response: Any) -> Iterable[bytes] | None:
        if not is_write(environ, part) or not left[0]:
            return None
        left[0] -= 1
        environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]) // 2)
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        raise ConnectionResetError

    return fault


def slow(seconds: float) -> Fault:
    """Every request waits."""

    def fault(environ: Any, start_response: Any) -> None:
        time.sleep(seconds)

    return fault

"""A real browser for tests: the system's Chromium, driven by Playwright; without one, importers are skipped."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

sync_api = pytest.importorskip("playwright.sync_api")

#: Waits for what is to become true, as a page answers when it can.
expect = sync_api.expect
expect.set_options(timeout=30_000)

CHROMIUM = os.environ.get("SUMMIT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
if not CHROMIUM:
    why = "no Chromium found, so nothing of the dashboard was tried in a browser; install it or set SUMMIT_CHROMIUM"
    pytest.skip(why, allow_module_level=True)

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


#: Whether the server has answered all that was asked of it.
QUIET = "[data-testid=stApp][data-test-script-state=notRunning]"


@contextmanager
def launched() -> "Iterator[sync_api.Browser]":
    """A browser, until the block ends."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()

"""The page itself: a few lines of HTML that load the program, or hold everything."""

import base64
import hashlib
import html
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from dashboard.components import BUNDLE
from dashboard.site.files import as_json
from summit_dask.facts.errors import ConfigError


def index_page(title: str, base: str | None) -> str:
    """The first page of a site, whose other files lie beside it, or at an address.

    Raises
    ------
    ConfigError
        If the address isn't one of the web.
    """
    at, origin = ("", "") if base is None else _place(base)
    allowed = f"'self'{origin}"
    head = f'<link rel="stylesheet" href="{html.escape(at)}site.css">'
    return _page(title, head, allowed, f'<script src="{html.escape(at)}site.js"></script>')


def single_page(title: str, parts: Mapping[str, Any]) -> str:
    """A page that holds some parts of the data, its program and its style, and needs no other file."""
    program, style = (program_file(f"site.{kind}") for kind in ("js", "css"))
    data = f'<script id="data" type="application/json">{as_json(parts)}</script>'
    head, body = f"<style>{style}</style>", f"{data}<script>{program}</script>"
    return _page(title, head, _digest(program), body, _digest(style))


def program_file(name: str) -> str:
    """A bundle of the components."""
    return (BUNDLE / name).read_text(encoding="utf-8")


def _page(title: str, head: str, scripts: str, body: str, styles: str = "") -> str:
    policy = (
        f"default-src 'none'; script-src {scripts}; style-src {styles or scripts}; "
        f"img-src {scripts if not styles else ''} data: blob:; base-uri 'none'; form-action 'none'"
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{html.escape(title)}</title>
<link rel="icon" href="data:,">
{head}
</head>
<body>
<noscript>This page is drawn by JavaScript, which is off.</noscript>
<div id="site"></div>
{body}
</body>
</html>
"""


def _digest(text: str) -> str:
    """What the content security policy calls a script or style that stands in the page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _place(base: str) -> tuple[str, str]:
    """An address that ends in a slash, and its origin as the policy has it."""
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname or any(sign in base for sign in " ;,'\"?#"):
        raise ConfigError(f"--base {base}: expected a whole address, from https on, without blanks and quotes.")
    return base.rstrip("/") + "/", " " + urlunsplit((parts.scheme, parts.netloc, "", "", ""))

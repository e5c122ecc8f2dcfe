"""The web client's files, served from memory.

All files of the package's `static` directory are read at start into a fixed table of paths, so a
request can only ever name one of them: there is no path to traverse and no file to wait for. Every
answer carries headers that let a page load nothing but its own files and talk to nothing but its
own server.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from gateway.exchange import Request, Response, text_response

INDEX: Final = "index.html"
DEPTH_MAX: Final = 8
"""Directories within directories; deeper is not ours."""
FILE_BYTES_MAX: Final = 8 * 1024 * 1024

_TYPES: Final[Mapping[str, str]] = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "json": "application/json",
    "webmanifest": "application/manifest+json",
    "svg": "image/svg+xml",
    "png": "image/png",
    "ico": "image/vnd.microsoft.icon",
    "txt": "text/plain; charset=utf-8",
    "woff2": "font/woff2",
}
_OTHER_TYPE: Final = "application/octet-stream"

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'{sockets}; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_GUARDS: Final = (
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
)
_HOST_CHARACTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-:[]")


@dataclass(frozen=True, slots=True)
class Page:
    """A file as it is sent; `etag` is quoted."""

    body: bytes
    content_type: str
    etag: str


class Pages:
    """A table of pages by path. `handle` answers requests for them."""

    def __init__(self, table: Mapping[str, Page]) -> None:
        self._table = dict(table)

    async def handle(self, request: Request) -> Response:
        """The page at the request's path, or why not. The path is compared as it was sent: escaped,
        doubled or dotted spellings of a page are other pages, which do not exist."""
        guards = (*_GUARDS, ("content-security-policy", _policy(request)))
        page = self._table.get(request.path)
        if page is None:
            return text_response(404, "there is nothing here", *guards)
        if request.method not in ("GET", "HEAD"):
            return text_response(405, "pages can be read only", ("allow", "GET, HEAD"), *guards)
        headers = (("etag", page.etag), ("cache-control", "no-cache"), *guards)
        if _is_known(page.etag, request.headers.get("if-none-match", "")):
            return Response(304, b"", headers)
        return Response(200, page.body, (("content-type", page.content_type), *headers))

    def __len__(self) -> int:
        return len(self._table)


def load_pages(directory: Traversable | None = None) -> Pages:
    """The files of `directory`, the package's own unless given. A directory's index.html is also
    the page of the directory. Without a directory there are no pages."""
    table: dict[str, Page] = {}
    root = files("gateway").joinpath("static") if directory is None else directory
    if root.is_dir():
        _collect(root, "/", table, DEPTH_MAX)
    return Pages(table)


def _collect(directory: Traversable, path: str, table: dict[str, Page], depth: int) -> None:
    for entry in directory.iterdir():
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            assert depth > 0, f"static files nested deeper than {DEPTH_MAX}"
            _collect(entry, f"{path}{entry.name}/", table, depth - 1)
            continue
        body = entry.read_bytes()
        assert len(body) <= FILE_BYTES_MAX, f"{entry.name} is too large to serve from memory"
        page = Page(body, _type_of(entry.name), f'"{hashlib.sha256(body).hexdigest()[:32]}"')
        table[path + entry.name] = page
        if entry.name == INDEX:
            table[path] = page


def _type_of(name: str) -> str:
    return _TYPES.get(name.rpartition(".")[2].lower(), _OTHER_TYPE)


def _policy(request: Request) -> str:
    """The policy for a page. Its socket is named: older browsers do not count it as 'self'."""
    host = request.headers.get("host", "").lower()
    is_plain = bool(host) and set(host) <= _HOST_CHARACTERS
    return _POLICY.format(sockets=f" ws://{host} wss://{host}" if is_plain else "")


def _is_known(etag: str, if_none_match: str) -> bool:
    """Whether the client has this page (RFC 9110, 13.1.2: weak comparison)."""
    offered = [part.strip().removeprefix("W/") for part in if_none_match.split(",")]
    return etag in offered or offered == ["*"]

"""The web client's files: a fixed table, strict headers, caching."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.exchange import Request, Response
from gateway.pages import Pages, load_pages

SECRET = b"outside"


@pytest.fixture
def pages(tmp_path: Path) -> Pages:
    (tmp_path / "secret.txt").write_bytes(SECRET)
    static = tmp_path / "static"
    (static / "core").mkdir(parents=True)
    (static / "index.html").write_bytes(b"<!doctype html>")
    (static / "core" / "app.js").write_bytes(b"export {}")
    (static / "style.css").write_bytes(b"a{}")
    (static / "data.bin").write_bytes(b"\0")
    (static / ".hidden").write_bytes(SECRET)
    return load_pages(static)


async def get(pages: Pages, path: str, method: str = "GET", **headers: str) -> Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await pages.handle(Request(method, path, headers={"host": "h:1", **named}))


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/", b"<!doctype html>", "text/html; charset=utf-8"),
        ("/index.html", b"<!doctype html>", "text/html; charset=utf-8"),
        ("/core/app.js", b"export {}", "text/javascript; charset=utf-8"),
        ("/style.css", b"a{}", "text/css; charset=utf-8"),
        ("/data.bin", b"\0", "application/octet-stream"),
    ],
)
async def test_files_are_served_with_their_types(
    pages: Pages, path: str, body: bytes, kind: str
) -> None:
    response = await get(pages, path)
    assert (response.status, response.body) == (200, body)
    assert dict(response.headers)["content-type"] == kind


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/core/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/core/..\\..\\secret.txt",
        "//secret.txt",
        "/core",
        "/core/",
        "/.hidden",
        "/index.html/",
        "/INDEX.html",
        "/index.html\0",
        "",
        "/" + "a" * 10_000,
    ],
)
async def test_nothing_else_can_be_reached(pages: Pages, path: str) -> None:
    response = await get(pages, path)
    assert response.status == 404
    assert SECRET not in response.body


@pytest.mark.parametrize("path", ["/", "/nowhere"])
async def test_every_answer_is_guarded(pages: Pages, path: str) -> None:
    headers = dict((await get(pages, path)).headers)
    policy = headers["content-security-policy"].split("; ")
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "style-src 'self'" in policy
    assert "img-src 'self' data:" in policy
    assert "connect-src 'self' ws://h:1 wss://h:1" in policy
    assert {"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"} <= set(policy)
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


async def test_a_host_cannot_write_into_the_policy(pages: Pages) -> None:
    headers = dict((await get(pages, "/", host="x; script-src *")).headers)
    assert "connect-src 'self'; " in headers["content-security-policy"]
    assert "*" not in headers["content-security-policy"]


async def test_an_unchanged_page_is_not_sent_again(pages: Pages) -> None:
    etag = dict((await get(pages, "/")).headers)["etag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        response = await get(pages, "/", if_none_match=known)
        assert (response.status, response.body) == (304, b"")
        assert dict(response.headers)["etag"] == etag
    assert (await get(pages, "/", if_none_match='"other"')).status == 200


async def test_pages_are_read_only(pages: Pages) -> None:
    response = await get(pages, "/", method="POST")
    assert response.status == 405
    assert dict(response.headers)["allow"] == "GET, HEAD"
    assert (await get(pages, "/", method="HEAD")).status == 200
    assert (await get(pages, "/nowhere", method="POST")).status == 404


async def test_without_a_directory_there_are_no_pages(tmp_path: Path) -> None:
    assert len(load_pages(tmp_path / "none")) == 0


async def test_the_package_s_own_pages_load() -> None:
    assert isinstance(load_pages(), Pages)

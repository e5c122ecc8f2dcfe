"""What the browser tests stand on: a server process, a wire that can be cut, people with pages.

`Server` is `run.py serve` in its own process, killed and started again on the same port and data.
`Wire` is a TCP relay before it: cut, it drops every connection and refuses new ones, which is what
a person loses when they lose the network. `Person` is one browser profile logged in as one user;
it remembers everything the page complained about.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect
from websockets.sync.client import connect

ROOT: Final = Path(__file__).resolve().parents[2]
PASSWORD: Final = "correct horse battery"
DEVICE: Final = "Chrome on Linux"
START_TRIES: Final = 3
WAIT_MS: Final = 15_000
"""How long an expectation may take: longer than the slowest backoff that a test can meet."""

CHROMIUM_ARGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
)
SETTINGS: Final = {
    "COPPICE_ARGON2_COST": "test",
    "COPPICE_LIMIT_SEND_BURST": "2000",
    "COPPICE_LIMIT_SEND_PER_S": "1000",
    "COPPICE_LIMIT_REQUEST_BURST": "2000",
    "COPPICE_LIMIT_REQUEST_PER_S": "1000",
    "COPPICE_LIMIT_PRESENCE_INTERVAL_MS": "100",
}
"""Test users are faster than people."""

_LOST_CONNECTION = re.compile(r"WebSocket connection to|net::ERR_")


def find_chromium() -> str | None:
    """The browser to test with, or None when there is none."""
    named = os.environ.get("COPPICE_CHROMIUM")
    return named or shutil.which("chromium") or shutil.which("chromium-browser")


class Server:
    """A server process with its own data directory. Killing it is not a failure."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    def start(self) -> None:
        """Returns once it listens; on the same port as before, if there was one."""
        command = [sys.executable, "run.py", "serve", "--port", str(self.port)]
        command += ["--data", str(self._data), "--ops", "127.0.0.1:0"]
        with (self._data.parent / f"{self._data.name}.log").open("a") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | SETTINGS,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.startswith("listening on "), f"the server said {line!r}; see {log.name}"
        self.port = int(line.rsplit(":", 1)[1])

    def kill(self) -> None:
        """As a power cut would: no goodbye, no flush."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Drain and go."""
        self._end(signal.SIGTERM)

    def _end(self, sign: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        self._process = None
        process.send_signal(sign)
        process.wait(15)
        assert process.stdout is not None
        process.stdout.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"


class Wire:
    """A relay to a port of this machine that can be cut and mended."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._is_cut = False
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def cut(self) -> None:
        with self._lock:
            self._is_cut = True
            for end in self._open:
                _shut(end)

    def mend(self) -> None:
        with self._lock:
            self._is_cut = False

    def close(self) -> None:
        self.cut()
        _shut(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._is_cut:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._target))
                self._open |= {near, far}
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._relay, args=(source, sink), daemon=True).start()

    def _relay(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                sink.sendall(data)
        except OSError:
            pass
        with self._lock:
            for end in (source, sink):
                _shut(end)
            self._open.discard(source)
        source.close()


def registered(url: str, user: str, name: str) -> dict[str, Any]:
    """A browser's memory of a user who registered on it a moment ago, without the clicks."""
    with connect(f"{url.replace('http', 'ws', 1)}ws", legacy=True, ping_interval=None) as client:
        fields = {"user": user, "name": name, "pass": PASSWORD, "device": DEVICE}
        client.send(json.dumps({"op": "register", "id": 1} | fields))
        while (answer := json.loads(client.recv()))["op"] != "ok":
            assert answer["op"] == "hello", answer
    login = json.dumps({key: answer[key] for key in ("token", "uid", "sid")})
    stored = [{"name": "coppice.login", "value": login}]
    return {"origins": [{"origin": url.rstrip("/"), "localStorage": stored}]}


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


class Person:
    """One browser profile, one user. Methods do what a person does and wait for its effect."""

    def __init__(self, browser: Browser, url: str, name: str, user: str, **context: Any) -> None:
        self.name = name
        self.user = user
        self.url = url
        self._browser = browser
        self.context: BrowserContext = browser.new_context(**context)
        self.context.set_default_timeout(WAIT_MS)
        self.complaints: list[str] = []
        self.page: Page = self._new_page()

    def _new_page(self) -> Page:
        page = self.context.new_page()
        page.on("console", lambda m: self._complain(m.type, m.text))
        page.on("pageerror", lambda error: self._complain("error", f"{error}\n{error.stack}"))
        page.add_init_script(
            "addEventListener('securitypolicyviolation', (event) => console.error("
            "'CSP', event.violatedDirective, event.blockedURI));"
        )
        return page

    def _complain(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(f"{self.name}: {text}")

    def serious_complaints(self) -> list[str]:
        """Everything but the browser's own word about a connection that a test has cut."""
        return [text for text in self.complaints if not _LOST_CONNECTION.search(text)]

    # ------------------------------------------------------------------ coming and going

    def register(self) -> Person:
        self.page.goto(self.url)
        self.page.get_by_role("button", name="Create an account").click()
        self.page.get_by_label("User name").fill(self.user)
        self.page.get_by_label("Your name").fill(self.name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Create account").click()
        self.expect_live()
        return self

    def come_back(self) -> Person:
        """Open the page as somebody whom the browser remembers."""
        self.page.goto(self.url)
        self.expect_live()
        return self

    def login(self) -> Person:
        self.page.goto(self.url)
        self.page.get_by_label("User name").fill(self.user)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Log in").click()
        self.expect_live()
        return self

    def expect_live(self) -> None:
        expect(self.page.locator(".shell")).to_be_visible(timeout=WAIT_MS)
        expect(self.page.locator(".banner")).to_be_hidden(timeout=WAIT_MS)

    def second_device(self, **context: Any) -> Person:
        return Person(self._browser, self.url, self.name, self.user, **context).login()

    def close(self) -> None:
        self.context.close()

    # ------------------------------------------------------------------ chats

    def find(self, query: str) -> None:
        self.page.get_by_label("Search chats and people").fill(query)

    def chat_with(self, other: Person) -> None:
        """Open the chat with somebody, found by user name."""
        self.find(other.user)
        self.page.locator(".side .row", has_text=other.name).first.click()
        expect(self.page.locator(".chat-title")).to_have_text(other.name)

    def open(self, title: str) -> None:
        self.row(title).click()
        expect(self.page.locator(".chat-title")).to_have_text(title)

    def row(self, title: str) -> Locator:
        return self.page.locator("ul[aria-label=Chats] .row", has_text=title)

    def send(self, *texts: str) -> None:
        composer = self.page.locator(".composer-input")
        for text in texts:
            composer.fill(text)
            composer.press("Enter")

    def message(self, text: str) -> Locator:
        return self.page.locator(".msg", has=self.page.locator(".text", has_text=text))

    def texts(self) -> list[str]:
        return self.page.locator(".msg .text").all_inner_texts()

    def expect_texts(self, texts: Iterable[str]) -> None:
        expect(self.page.locator(".msg .text")).to_have_text(list(texts), timeout=2 * WAIT_MS)

    def expect_tick(self, text: str, kind: str) -> None:
        tick = self.message(text).locator(f".tick-{kind}")
        expect(tick).to_be_visible(timeout=WAIT_MS)

    def menu(self, text: str, item: str) -> None:
        """Choose from a message's menu."""
        self.message(text).locator(".bubble").hover()
        self.message(text).locator(".more").click()
        self.page.get_by_role("menuitem", name=item, exact=True).click()

    def toast(self) -> Locator:
        return self.page.locator(".toast")

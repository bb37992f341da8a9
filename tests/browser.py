"""A headless Chromium for the tests, driven over a pipe: no package, no port, no network."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-first-run",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
)
PATIENCE = 60.0
"""Seconds until a page that does not load is a failure; a busy machine is slow."""
KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowRight": 39, "ArrowDown": 40, "ArrowLeft": 37}


class Browser:
    """One page in one browser; what it asked for over the network and what went wrong in it is kept."""

    def __init__(self, folder: Path) -> None:
        binary = next((path for name in NAMES if (path := shutil.which(name))), None)
        if binary is None:
            pytest.skip("no Chromium on this machine; on Debian: apt-get install chromium")
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()

        def hand_over() -> None:
            # The browser reads from 3 and writes to 4, whatever these were before.
            reads, writes = os.dup(theirs_in), os.dup(theirs_out)
            os.dup2(reads, 3)
            os.dup2(writes, 4)

        self._process = subprocess.Popen(
            [binary, *FLAGS, f"--user-data-dir={folder}"],
            preexec_fn=hand_over,
            close_fds=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._buffer, self._number, self._session = b"", 0, ""
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._loaded = False
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        self.send("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the DevTools protocol, and what came back."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            reply = self._next()
            if reply.get("id") == self._number:
                assert "error" not in reply, (method, reply["error"])
                result: dict[str, Any] = reply["result"]
                return result

    def open(self, address: str | Path, hash: str = "", *, wait_for: str = "bakeoff") -> None:
        """Load a page and wait until its script has set a global; what was noted of an earlier page is forgotten."""
        self.requests.clear()
        self.errors.clear()
        self._loaded = False
        url = address if isinstance(address, str) else address.resolve().as_uri()
        self.send("Page.navigate", url="about:blank")
        self._wait_loaded()
        self._loaded = False
        self.send("Page.navigate", url=url + hash)
        self._wait_loaded()
        if wait_for:
            ready = f"const look = () => globalThis.{wait_for} ? done() : setTimeout(look, 5); look();"
            self.js(f"new Promise((done) => {{ {ready} }})")

    def js(self, expression: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        reply = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in reply:
            raise AssertionError(reply["exceptionDetails"]["exception"].get("description", "it threw"))
        return reply["result"].get("value")

    def press(self, key: str, *, shift: bool = False) -> None:
        """One key, as from the keyboard."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        shared = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS.get(key, ord(key[0].upper()))}
        modifiers = 8 if shift else 0
        self.send("Input.dispatchKeyEvent", type="keyDown", modifiers=modifiers, text=text, **shared)
        self.send("Input.dispatchKeyEvent", type="keyUp", modifiers=modifiers, **shared)

    def look(self, *, width: int = 1280, height: int = 900, scheme: str = "light", media: str = "") -> None:
        """Set the window; `scheme` is light or dark, `media` may be print."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send("Emulation.setEmulatedMedia", media=media, features=features)

    def picture(self, path: Path, *, whole: bool = False) -> Path:
        """A screenshot of the window, or of the whole page."""
        reply = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(reply["data"]))
        return path

    def close(self) -> None:
        with suppress(BrokenPipeError, EOFError):
            self._session = ""
            self.send("Browser.close")
        self._process.wait(timeout=PATIENCE)
        os.close(self._in)
        os.close(self._out)

    def _wait_loaded(self) -> None:
        until = time.monotonic() + PATIENCE
        while not self._loaded:
            assert time.monotonic() < until, "the page did not load"
            self._next()

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            piece = os.read(self._in, 1 << 20)
            if not piece:
                raise EOFError("the browser is gone")
            self._buffer += piece
        line, self._buffer = self._buffer.split(b"\0", 1)
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, what: Mapping[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(what["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.errors.append(str(what["exceptionDetails"]))
        elif method == "Log.entryAdded" and what["entry"]["level"] == "error":
            self.errors.append(what["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and what["type"] in ("error", "warning"):
            self.errors.append(str(what["args"]))
        elif method == "Page.loadEventFired":
            self._loaded = True


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser with its own empty profile in `folder`."""
    one = Browser(folder)
    try:
        yield one
    finally:
        one.close()

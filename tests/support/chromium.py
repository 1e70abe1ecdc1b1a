"""A real headless Chromium, driven through its DevTools protocol over a pair of pipes.

Source: https://chromedevtools.github.io/devtools-protocol/ (`--remote-debugging-pipe`: messages in
JSON that end with a zero byte, read from handle 3 and written to handle 4).
"""

import base64
import fcntl
import json
import os
import selectors
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATH = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
LIMIT_S = 60.0


class Browser:
    """One page.  `said` has what it wrote to its console, `asked` the addresses it requested."""

    def __init__(self, writes: int, reads: int) -> None:
        self._writes, self._reads = writes, reads
        self._unread = b""
        self._number = 0
        self.said: list[str] = []
        self.asked: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    _session: str | None = None

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Return the answer to a call.  Events that come meanwhile are kept."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        while True:
            heard = self._hear()
            if heard.get("id") == self._number:
                assert "error" not in heard, heard
                return dict(heard["result"])

    def _hear(self) -> dict[str, Any]:
        with selectors.DefaultSelector() as either:
            either.register(self._reads, selectors.EVENT_READ)
            while b"\0" not in self._unread:
                assert either.select(LIMIT_S), "the browser does not answer"
                piece = os.read(self._reads, 2**20)
                assert piece, "the browser has ended"
                self._unread += piece
        line, _, self._unread = self._unread.partition(b"\0")
        heard: dict[str, Any] = json.loads(line)
        match heard.get("method"):
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown" | "Log.entryAdded":
                self.said.append(json.dumps(heard["params"]))
            case "Network.requestWillBeSent":
                self.asked.append(heard["params"]["request"]["url"])
            case "Page.loadEventFired":
                self._loaded = True
        return heard

    _loaded = False

    def open(self, path: Path, *, width: int = 1280, dark: bool = False) -> None:
        """Open a page, and wait until it is loaded."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self._loaded = False
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not self._loaded:
            self._hear()

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Write a PNG of the page.  whole: to its end."""
        # Pictures further down are loaded when they come into view.
        self.run("document.querySelectorAll('img').forEach((one) => { one.loading = 'eager'; })")
        self.run("Promise.all(Array.from(document.images, (one) => one.decode()))")
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def pdf(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF")["data"]))


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Start a fresh browser whose profile lies in that folder."""
    assert PATH is not None
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()

    def handles() -> None:
        # Both first out of the way of 3 and 4, which they may be themselves.
        reads = fcntl.fcntl(to_read, fcntl.F_DUPFD, 10)
        writes = fcntl.fcntl(from_write, fcntl.F_DUPFD, 10)
        os.dup2(reads, 3)
        os.dup2(writes, 4)

    process = subprocess.Popen(
        [PATH, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         "--remote-debugging-pipe", f"--user-data-dir={profile}", "--no-first-run",
         "--hide-scrollbars", "--disable-background-networking"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=handles, close_fds=False,
    )  # fmt: skip
    os.close(to_read)
    os.close(from_write)
    try:
        yield Browser(to_write, from_read)
    finally:
        process.kill()
        process.wait()
        os.close(to_write)
        os.close(from_read)

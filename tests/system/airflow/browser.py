"""A headless Chromium, driven through its debugging protocol: enough to look at pages as a person sees them."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from websockets.sync.client import ClientConnection, connect

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--remote-debugging-port=0",
)
NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str | None:
    """The browser's program, if there is one."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Page:
    """One tab."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._ids = itertools.count(1)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command of the protocol; returns its result."""
        number = next(self._ids)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            if message.get("id") == number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']['message']}")
                return dict(message["result"])

    def resize(self, width: int, height: int) -> None:
        """Give the page another size."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def sign_in(self, url: str, token: str) -> None:
        """Set the cookie that Airflow's own log-in form sets."""
        self.call("Network.setCookie", name="_token", value=token, url=url, path="/")

    def open(self, url: str, expect: str, timeout: float = 60) -> None:
        """Go to a page and wait until it shows a text."""
        self.call("Page.navigate", url=url)
        self.wait_for(expect, timeout)

    def text(self) -> str:
        """The visible text."""
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def evaluate(self, script: str) -> Any:
        """Run JavaScript; returns its value."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)["result"].get(
            "value"
        )

    def wait_for(self, expect: str, timeout: float = 60) -> None:
        """Wait until the page shows a text."""
        deadline = time.monotonic() + timeout
        while expect not in self.text():
            if time.monotonic() > deadline:
                raise TimeoutError(f'"{expect}" did not appear; the page shows:\n{self.text()[:2000]}')
            time.sleep(0.2)

    def click(self, text: str, timeout: float = 60) -> None:
        """Click the button, link or tab that shows a text, once it is there."""
        script = (
            "(() => { const all = [...document.querySelectorAll('button, a, [role=tab], summary')];"
            f" const one = all.find(e => e.innerText.trim() === {json.dumps(text)}"
            f" || e.getAttribute('aria-label') === {json.dumps(text)});"
            " if (!one) return false; one.click(); return true; })()"
        )
        deadline = time.monotonic() + timeout
        while not self.evaluate(script):
            if time.monotonic() > deadline:
                raise LookupError(f'nothing to click shows "{text}"')
            time.sleep(0.2)

    def picture(self, path: Path, settle_seconds: float = 1.5) -> Path:
        """Save what is visible as PNG, after animations have ended."""
        time.sleep(settle_seconds)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
        return path


@contextmanager
def open_browser(width: int = 1440, height: int = 900) -> Iterator[Page]:
    """A browser with one tab and a profile of its own; stopped by its process id."""
    program = chromium()
    if program is None:
        raise RuntimeError("no Chromium on this machine")
    profile = Path(tempfile.mkdtemp(prefix="crosswalk-browser-"))
    process = subprocess.Popen(
        [program, *FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}", "about:blank"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port = _port(profile, process)
        with urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
            tab = next(item for item in json.load(answer) if item["type"] == "page")
        with connect(tab["webSocketDebuggerUrl"], max_size=None) as socket:
            page = Page(socket)
            page.resize(width, height)
            yield page
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        if process.poll() is None:
            process.kill()
            process.wait(10)
        shutil.rmtree(profile, ignore_errors=True)


def _port(profile: Path, process: subprocess.Popen[bytes]) -> int:
    file = profile / "DevToolsActivePort"
    deadline = time.monotonic() + 60
    while not (file.exists() and file.read_text().strip()):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("Chromium did not start")
        time.sleep(0.1)
    return int(file.read_text().split()[0])

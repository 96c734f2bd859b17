"""A headless Chromium that tests drive through its debugging pipe: pages are opened, asked and
clicked by JavaScript, and what the browser complains of is kept.
"""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium is installed (apt-get install chromium)"
)


SILENCE = 30
"""Seconds after which a browser that answers nothing hangs."""

BEGIN = """import fcntl, os, sys
*ends, command = sys.argv[1], sys.argv[2], sys.argv[3:]
for place, end in enumerate([fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in ends], start=3):
    os.dup2(end, place)
    os.close(end)
os.execv(command[0], command)
"""
"""Chromium hears its orders at 3 and answers at 4."""


class Chromium:
    """One browser with one page. `complaints` are its errors and warnings, `fetched` the addresses
    that were asked for.
    """

    def __init__(self, profile: Path, *, width: int, height: int = 900, dark: bool = False) -> None:
        self.complaints: list[str] = []
        self.fetched: list[str] = []
        self._number = 0
        self._rest = b""
        theirs, self._to = os.pipe()
        self._from, answers = os.pipe()
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
        options += [f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", BEGIN, str(theirs), str(answers), str(CHROMIUM), *options],
            pass_fds=(theirs, answers),
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(answers)
        self._session: dict[str, str] = {}
        self._seen = (width, height, dark)

    def __enter__(self) -> "Chromium":
        try:
            self._begin(*self._seen)
        except AssertionError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
        os.close(self._to)
        os.close(self._from)

    def _begin(self, width: int, height: int, dark: bool) -> None:
        page = self.say("Target.createTarget", url="about:blank")["targetId"]
        found = self.say("Target.attachToTarget", targetId=page, flatten=True)
        self._session = {"sessionId": found["sessionId"]}
        for part in ("Page", "Runtime", "Log", "Network"):
            self.say(f"{part}.enable")
        seen = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.say("Emulation.setEmulatedMedia", features=[seen])
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.say("Emulation.setDeviceMetricsOverride", **size)

    def open(self, address: str) -> None:
        """Go to a page."""
        self.say("Page.navigate", url=address)

    def ask(self, script: str) -> Any:
        """What a JavaScript expression comes to."""
        told = self.say("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def wait(self, script: str, seconds: float = 60.0) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.ask(f"Boolean({script})"):
            assert time.monotonic() < end, f"{script} stayed false: {self.complaints}"
            time.sleep(0.1)

    def shoot(self, path: Path) -> None:
        """A picture of the whole page."""
        told = self.say("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(told["data"]))

    def say(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the debugging protocol; events that come meanwhile are looked at."""
        self._number += 1
        asked = {"id": self._number, "method": method, "params": params, **self._session}
        os.write(self._to, json.dumps(asked).encode() + b"\0")
        while (told := self._hear()).get("id") != self._number:
            self._note(told)
        assert "error" not in told, told
        return dict(told["result"])

    def _hear(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], SILENCE)
            assert ready, f"the browser says nothing for {SILENCE} s: {self.complaints}"
            more = os.read(self._from, 1 << 16)
            assert more, "the browser is gone"
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(line))

    def _note(self, event: dict[str, Any]) -> None:
        said = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.fetched.append(said["request"]["url"])
        elif event.get("method") == "Log.entryAdded":
            self.complaints.append(
                f"{said['entry']['level']}: {said['entry']['text']} {said['entry'].get('url', '')}"
            )
        elif event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(said["exceptionDetails"]))
        elif event.get("method") == "Runtime.consoleAPICalled" and said["type"] != "log":
            self.complaints.append(f"{said['type']}: {said['args']}")

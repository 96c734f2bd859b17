"""A headless Chromium that tests drive through its debugging pipe: pages are opened, asked and
clicked by JavaScript, and what the browser complains of is kept.
"""

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium is installed (apt-get install chromium)"
)


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
            ["/bin/sh", "-c", f'exec "$0" "$@" 3<&{theirs} 4>&{answers}', str(CHROMIUM), *options],
            pass_fds=(theirs, answers),
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(answers)
        self._session: dict[str, str] = {}
        page = self.say("Target.createTarget", url="about:blank")["targetId"]
        found = self.say("Target.attachToTarget", targetId=page, flatten=True)
        self._session = {"sessionId": found["sessionId"]}
        for part in ("Page", "Runtime", "Log", "Network"):
            self.say(f"{part}.enable")
        seen = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.say("Emulation.setEmulatedMedia", features=[seen])
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.say("Emulation.setDeviceMetricsOverride", **size)

    def __enter__(self) -> "Chromium":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
        os.close(self._to)
        os.close(self._from)

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

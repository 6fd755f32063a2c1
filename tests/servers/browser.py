"""A real browser for the tests: headless Chromium, led through its debugging pipe."""

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_browser() -> str | None:
    """The program; None where none is installed."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def why_not() -> str:
    """Why there can be no browser here; empty where there can."""
    return "" if find_browser() else "no Chromium is installed: apt-get install chromium"


class Tab:
    """One page of the browser."""

    def __init__(self, to_browser: BinaryIO, from_browser: BinaryIO) -> None:
        self._to, self._from = to_browser, from_browser
        self._number = 0
        self._session: str | None = None
        self.problems: list[str] = []  # what the page's console complains of

    def open(self, url: str) -> None:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Runtime.enable")
        self.call("Log.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=1240, height=860, deviceScaleFactor=1, mobile=False)
        self.call("Page.navigate", url=url)

    def value(self, script: str) -> Any:
        """What the page's script gives."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def wait_for(self, script: str, within_s: float = 30.0) -> Any:
        """What the script gives as soon as it is true."""
        ends = time.monotonic() + within_s
        while not (value := self.value(script)):
            assert time.monotonic() < ends, f"never true: {script}; the page complains of {self.problems}"
            time.sleep(0.1)
        return value

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        while (answer := self._read()).get("id") != self._number:
            if answer.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.problems.append(json.dumps(answer["params"]))
        assert "error" not in answer, answer
        return dict(answer["result"])

    def _read(self) -> dict[str, Any]:
        text = bytearray()
        while (byte := self._from.read(1)) != b"\0":
            assert byte, "the browser ended"
            text += byte
        return dict(json.loads(text))


@contextlib.contextmanager
def browser_tab(program: str, profile: Path) -> Iterator[Tab]:
    """A tab of a browser with a profile of its own, which ends with the test."""
    for_browser, to_browser = os.pipe()
    from_browser, of_browser = os.pipe()
    options = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars --remote-debugging-pipe"
    command = f'exec "$0" {options} --user-data-dir="$1" 3<&{for_browser} 4>&{of_browser}'
    browser = subprocess.Popen(
        ["bash", "-c", command, program, str(profile)],
        pass_fds=(for_browser, of_browser),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(for_browser)
    os.close(of_browser)
    try:
        with open(to_browser, "wb", buffering=0) as to, open(from_browser, "rb") as come:  # noqa: PTH123
            yield Tab(to, come)
    finally:
        browser.terminate()
        browser.wait(20)

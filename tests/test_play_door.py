"""The door of the playground: it answers to nobody but who knows its address, fetches nothing from
elsewhere, works in a browser, and leaves nothing behind.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import stimuli
from interp.errors import ResourceError
from interp.play import door
from support.chromium import Chromium, needs_chromium
from support.commands import outcome


def test_a_port_in_use_is_told_before_anything_is_loaded():
    with door.listen(None) as there:
        assert there.getsockname()[0] == "127.0.0.1"
        port = there.getsockname()[1]
        with pytest.raises(ResourceError, match=rf"cannot listen at port {port} .*--port"):
            door.listen(port)
        assert outcome("play", "planted", "--port", port)[0] == 5


def test_a_browser_is_sent_by_a_file_and_not_by_an_argument(tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(door.webbrowser, "open", opened.append)
    door.open_browser("http://127.0.0.1:1/secret/", tmp_path)
    (address,) = opened
    assert "secret" not in address
    assert "url=http://127.0.0.1:1/secret/" in Path(urlsplit(address).path).read_text()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """`interp play storyworld`, on the texts of two emotions: its process, address and temporary
    folder.
    """
    folder = tmp_path_factory.mktemp("served")
    battery = stimuli.load("storyworld", emotions=["anger", "joy"])
    rich = battery.where(arm="keyword_rich")
    items = [one for name in ("anger", "joy") for one in [*rich.where(emotion=name)][:30]]
    path = stimuli.save(replace(battery, items=tuple(items)), folder / "texts.jsonl")
    (folder / "temporary").mkdir()
    around = {"XDG_CACHE_HOME": str(folder), "TMPDIR": str(folder / "temporary")}
    words = ("play", "storyworld", "--stimuli", str(path), "--max-new-tokens", "8")
    with subprocess.Popen(
        [sys.executable, "-c", "from interp.cli import main; main()", *words],
        env={**os.environ, **around},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        address = process.stdout.readline().strip()
        assert address, process.communicate()[1]
        yield process, address, folder / "temporary"
        process.kill()


def asked(address: str, path: str, **headers: str) -> tuple[int, str]:
    """The status and the body of an answer."""
    where = urlsplit(address)
    with closing(HTTPConnection(where.hostname, where.port, timeout=60)) as line:
        line.request("GET", path, headers=headers)
        answer = line.getresponse()
        body = answer.read().decode()
    assert "default-src 'self'" in answer.getheader("Content-Security-Policy")
    assert answer.getheader("Referrer-Policy") == "no-referrer"
    return answer.status, body


@pytest.mark.slow
def test_who_does_not_know_the_token_or_calls_by_another_name_is_refused(served):
    _, address, _ = served
    where = urlsplit(address)
    token = where.path.strip("/")
    assert len(token) >= 43
    status, body = asked(address, where.path)
    assert (status, "interp play: storyworld" in body) == (200, True)
    for path in (
        "/",
        "/config",
        "/gradio_api/info",
        f"/{token[:-1]}/",
        f"/{token.lower()}/",
        "/x/",
    ):
        assert asked(address, path)[0] == 404, path
    for path in ("/manifest.json", "/favicon.ico"):
        assert "storyworld" not in asked(address, path)[1]
    assert asked(address, where.path, Host=f"localhost:{where.port}")[0] == 200
    for host in ("evil.example", f"evil.example:{where.port}", "0.0.0.0", "127.0.0.1.evil.example"):
        assert asked(address, where.path, Host=host)[0] == 400, host
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", where.port), timeout=5)


@pytest.mark.slow
def test_the_page_has_a_slider_an_emotion_and_offers_no_interface_to_programs(served):
    _, address, _ = served
    status, told = asked(address, f"{urlsplit(address).path}config")
    page = json.loads(told)
    sliders = [part["props"] for part in page["components"] if part["type"] == "slider"]
    assert (status, [one["label"] for one in sliders]) == (200, ["anger", "joy"])
    assert {one["value"] for one in sliders} == {0}
    assert {one["api_visibility"] for one in page["dependencies"]} == {"private"}
    assert not page["analytics_enabled"]
    assert not page["footer_links"]


SET = """(() => {
  const set = (one, value) => {
    one.value = value;
    for (const kind of ["input", "change", "blur"]) one.dispatchEvent(new Event(kind));
  };
  set(document.querySelector("#text textarea"), "Nuria worked as a smith in the manor. Then");
  set(document.querySelector("#weight-anger input[type=number]"), 2);
})()"""

WIDE = """[...document.querySelectorAll("body *")].filter(one => !one.closest(".scroll") &&
  one.getBoundingClientRect().right > document.documentElement.clientWidth + 1).length"""


@needs_chromium
@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(400, True), (1200, False)])
def test_a_browser_reads_and_writes_and_fetches_nothing_from_elsewhere(
    served, tmp_path, width, dark
):
    _, address, _ = served
    with Chromium(tmp_path / "profile", width=width, dark=dark) as browser:
        browser.open(address)
        browser.wait("document.querySelector('#text textarea')")
        browser.wait("document.querySelector('#doubts p')")
        assert "60 texts" in browser.ask("document.querySelector('#doubts').innerText")
        browser.ask(SET)
        browser.ask("document.querySelector('#write').click()")
        browser.wait("document.querySelectorAll('#written section').length == 3")
        told = browser.ask("document.querySelector('#written').innerText")
        assert "steered to 2 anger" in told
        browser.ask("document.querySelector('#read').click()")
        browser.wait("document.querySelectorAll('#pictures img').length == 2")
        shown = browser.ask("document.querySelector('#tokens').innerText")
        assert "Nuria worked as a smith" in shown
        seen = "[...document.images].every(one => one.complete && one.naturalWidth > 0)"
        browser.wait(seen)
        assert browser.ask(WIDE) == 0
        size = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        assert len(set(browser.ask(size))) == 1
        paper = browser.ask("getComputedStyle(document.body).backgroundColor")
        parts = [int(part) for part in re.findall(r"\d+", paper)[:3]]
        assert (max(parts) < 64) if dark else (min(parts) > 224)
        folder = tmp_path / "downloads"
        browser.say("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        browser.ask("document.querySelector('#download').click()")
        end = time.monotonic() + 20
        while not [*folder.glob("*.zip")]:
            assert time.monotonic() < end, "no file came"
            browser.ask("1")
            time.sleep(0.1)
        assert browser.complaints == []
        here = address.removesuffix(urlsplit(address).path)
        assert [one for one in browser.fetched if not one.startswith((here, "data:"))] == []


@pytest.mark.slow
def test_a_signal_closes_the_page_and_leaves_no_file(served):
    """The last one: the server is gone afterwards."""
    process, _, temporary = served
    assert [*temporary.iterdir()]
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert told.splitlines()[-1] == "interp: stopped by SIGINT: the page is closed."
    assert [*temporary.iterdir()] == []

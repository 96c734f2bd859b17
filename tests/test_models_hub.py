"""The hub, played by a small server on this machine: pinning, what is fetched, and what its
refusals become.
"""

import hashlib
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from huggingface_hub import constants

from interp.errors import ArtefactError, ResourceError, UsageError
from interp.models import load, outline
from support.tiny_models import make_folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub(BaseHTTPRequestHandler):
    """Repository `org/tiny` (files of `folder`), `org/gated`, and nothing else; every request is
    written down.
    """

    folder = None
    asked: list[str]

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, *, body):
        self.asked.append(self.path)
        path = self.path.partition("?")[0]
        names = sorted(entry.name for entry in self.folder.iterdir())
        if "/gated" in path:
            self.reply(403, b"", {"X-Error-Code": "GatedRepo"})
        elif "/tiny" not in path:
            self.reply(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif "/nowhere" in path:
            self.reply(404, b"", {"X-Error-Code": "RevisionNotFound"})
        elif "/tree/" in path:
            files = [(name, self.folder / name) for name in names]
            rows = [
                {"type": "file", "path": n, "size": f.stat().st_size, "oid": digest(f)}
                for n, f in files
            ]
            self.reply(200, json.dumps(rows).encode() if body else b"")
        elif path.startswith("/api/models/org/tiny"):
            info = {
                "id": "org/tiny",
                "sha": COMMIT,
                "siblings": [{"rfilename": n} for n in [*names, "onnx/model.bin"]],
            }
            self.reply(200, json.dumps(info).encode() if body else b"")
        elif (file := self.folder / path.rsplit("/", 1)[1]).is_file():
            about = {"ETag": f'"{digest(file)}"', "X-Repo-Commit": COMMIT}
            self.reply(200, file.read_bytes(), about, send=body)
        else:
            self.reply(404, b"", {"X-Error-Code": "EntryNotFound"})

    def reply(self, status, content, headers=None, *, send=True):
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if send:
            self.wfile.write(content)

    def log_message(self, *args):
        pass


def digest(path):
    return hashlib.sha1(path.read_bytes()).hexdigest()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A running fake hub; `hub.asked` lists the requests, `hub.folder` holds the repository."""
    handler = type(
        "Handler", (FakeHub,), {"folder": make_folder("gpt2", tmp_path / "repository"), "asked": []}
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield handler
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_hub_model_is_pinned_cached_and_loads_again_offline(hub, tiny_folder):
    (hub.folder / "pytorch_model.bin").write_bytes(b"a pickle that nobody may fetch")
    (hub.folder / "modeling_evil.py").write_text("raise SystemExit")
    model = load("org/tiny@main")
    assert model.provenance["revision"] == COMMIT
    assert model.provenance["source"] == "hub"
    assert not [path for path in hub.asked if path.endswith((".bin", ".py"))]
    batch = model.pad([[5, 6, 7]])
    assert torch.equal(model.forward(batch), load(str(tiny_folder("gpt2"))).forward(batch))
    hub.asked.clear()
    for name in ("org/tiny", f"org/tiny@{COMMIT}"):
        again = load(name, offline=True, check=False)
        assert again.provenance["digest"] == model.provenance["digest"]
        assert again.provenance["revision"] == COMMIT
    assert hub.asked == []


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({"auto_map": {"AutoModel": "evil.Model"}}, ArtefactError),
        ({"is_encoder_decoder": True, "model_type": "t5"}, UsageError),
    ],
)
def test_a_refused_config_ends_it_before_weights_are_fetched(hub, config, error):
    (hub.folder / "config.json").write_text(json.dumps({"model_type": "gpt2", **config}))
    with pytest.raises(error, match="org/tiny"):
        load("org/tiny")
    assert not [path for path in hub.asked if "safetensors" in path]


def test_only_pickled_weights(hub):
    (hub.folder / "model.safetensors").rename(hub.folder / "pytorch_model.bin")
    with pytest.raises(ArtefactError, match="a pickle, which can run code"):
        load("org/tiny")


def test_only_gguf_weights(hub):
    (hub.folder / "model.safetensors").rename(hub.folder / "tiny.Q4_1.gguf")
    with pytest.raises(UsageError, match=r"org/tiny has .* only as GGUF .*\(tiny.Q4_1.gguf\)"):
        load("org/tiny")
    assert not [path for path in hub.asked if path.endswith(".gguf")]


def test_gated_unknown_and_unknown_revision(hub):
    with pytest.raises(
        ResourceError,
        match=r"licence on https://huggingface.co/org/gated, .*HF_TOKEN.* No cached copy",
    ):
        load("org/gated")
    with pytest.raises(UsageError, match=r"no model org/absent .*Did you mean .*, .*, "):
        load("org/absent")
    with pytest.raises(UsageError, match="no such revision"):
        load("org/tiny@nowhere")


def test_network_down_names_the_cached_copy(hub, monkeypatch):
    load("org/tiny", check=False)

    def unplugged(self, *args, **named):
        raise ConnectionError("no route to host")

    monkeypatch.setattr("interp.models.loading.hub.HfApi.model_info", unplugged)
    with pytest.raises(
        ResourceError, match=r"no route to host.*cached copy is here: --offline uses it"
    ):
        load("org/tiny")
    with pytest.raises(ResourceError, match="No cached copy is here"):
        load("org/other")


def test_an_outline_of_a_newer_revision_leaves_the_cached_model_usable_offline(hub, monkeypatch):
    load("org/tiny", check=False)
    monkeypatch.setattr(sys.modules[__name__], "COMMIT", "f" * 40)
    outline("org/tiny")
    assert (
        load("org/tiny", offline=True, check=False).provenance["revision"]
        == "0123456789abcdef0123456789abcdef01234567"
    )


def test_an_outline_fetches_no_weights_and_says_what_the_model_would(hub):
    shape = outline("org/tiny")
    assert not any("safetensors" in path for path in hub.asked)
    assert shape.dims == load("org/tiny", check=False).dims
    assert any("safetensors" in path for path in hub.asked)

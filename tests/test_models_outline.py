"""A model's outline plans as the model itself would, and needs no weights."""

import json
import shutil

import pytest
from torch._subclasses.fake_tensor import FakeTensor

from interp.capture.estimate import estimate_capture
from interp.capture.options import Options
from interp.capture.plan import make_plan
from interp.errors import ArtefactError, UsageError
from interp.models import load, outline
from interp.sites import SITE_NAMES, Site
from support.capture_cases import SITES, battery
from support.tiny_models import CHAT, FAMILIES, make_folder


@pytest.fixture(scope="module")
def without_weights(tiny_folder, tmp_path_factory):
    """The folder of a family, its weights taken away."""

    def make(family: str) -> str:
        target = tmp_path_factory.mktemp("outline") / family
        shutil.copytree(tiny_folder(family), target, ignore=shutil.ignore_patterns("*.safetensors"))
        return str(target)

    return make


@pytest.mark.parametrize("family", FAMILIES)
def test_an_outline_knows_all_that_planning_asks(family, tiny_folder, without_weights):
    whole, shape = load(str(tiny_folder(family)), check=False), outline(without_weights(family))
    assert shape.dims == whole.dims
    assert shape.dtype == whole.dtype
    everywhere = [Site(name, layer) for name in SITE_NAMES for layer in range(whole.dims.n_layers)]
    assert [shape.offers(site) for site in everywhere] == [
        whole.offers(site) for site in everywhere
    ]
    settings = {
        "sites": SITES,
        "positions": ("last", "span(seen)"),
        "options": Options(token_budget=48),
    }
    planned, real = make_plan(shape, battery(), **settings), make_plan(whole, battery(), **settings)
    assert (planned.batches, planned.shards, planned.lengths) == (
        real.batches,
        real.shards,
        real.lengths,
    )
    told = [
        estimate_capture(model, battery(), sites=SITES, positions=("last",), teraflops=1.0)
        for model in (shape, whole)
    ]
    assert told[0] == told[1]


def test_a_chat_template_lengthens_the_plan(tmp_path):
    folder = str(make_folder("llama", tmp_path / "chat", chat=CHAT))
    plain, chat = (outline(folder, chat_template=said) for said in ("off", "on"))
    settings = {"sites": ("resid_post",), "positions": ("last",), "teraflops": 1.0}
    tokens = [estimate_capture(model, battery(), **settings)["tokens"] for model in (plain, chat)]
    # <user> and <end>; the template writes BOS itself
    assert tokens[1] == tokens[0] + len(battery()) * 2


def test_a_model_of_seventy_thousand_million_weights_is_outlined_and_never_made(
    tmp_path, tiny_folder
):
    folder = tmp_path / "large"
    shutil.copytree(tiny_folder("llama"), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((folder / "config.json").read_text())
    large = {
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
    }
    config |= {**large, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 128256}
    (folder / "config.json").write_text(json.dumps(config))
    shape = outline(str(folder), dtype="bfloat16")
    told = estimate_capture(
        shape, battery(), sites=("resid_post",), positions=("last",), teraflops=1.0
    )
    assert told["weights_bytes"] == pytest.approx(141e9, rel=0.01)
    assert told["bytes"] == len(battery()) * 80 * 8192 * 4
    weights = list(shape.bridge.original_model.parameters())
    assert len(weights) > 700
    assert all(isinstance(weight, FakeTensor) for weight in weights)


def test_a_testbed_comes_whole_and_bad_names_are_told():
    assert outline("planted").dims == load("planted", check=False).dims
    with pytest.raises(UsageError, match="unknown dtype 'int8'"):
        outline("planted", dtype="int8")
    with pytest.raises(UsageError):
        outline("no-such-model")


def test_a_folder_without_a_tokenizer_is_refused(tmp_path, without_weights):
    folder = tmp_path / "bare"
    shutil.copytree(without_weights("gpt2"), folder, ignore=shutil.ignore_patterns("tokenizer*"))
    with pytest.raises(ArtefactError, match="tokenizer"):
        outline(str(folder))

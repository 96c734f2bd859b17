"""The table of families: no number that plain Hugging Face contradicts, and the page says so."""

import re
from pathlib import Path

import pytest
import torch

from interp.causal.prefix import Prefix
from interp.errors import UsageError
from interp.evaluation import comparisons, families, family_page
from interp.evaluation.comparisons import METHODS
from interp.evaluation.families import judge, tabulate
from interp.evaluation.plainly import Plain, without
from interp.models import LanguageModel
from interp.models.checks.reliance import Refusal
from interp.testbeds.families import FAMILIES
from interp.testbeds.family_folders import make_model, make_model_folder

PAGE = Path(__file__).parents[1] / "docs" / "families.md"
HANDFUL = ("opt", "gptj", "olmo2", "granite", "mixtral", "deepseek_v3", "codegen")


@pytest.fixture(scope="module")
def rows():
    return tabulate(HANDFUL)


@pytest.mark.slow
def test_no_number_is_contradicted_by_plain_hugging_face(rows):
    assert len(rows) == len(HANDFUL) * 2 * len(METHODS)
    assert [row for row in rows if row["word"] not in ("right", "refused")] == []
    right = {(row["family"], row["dtype"]) for row in rows if row["word"] == "right"}
    assert right == {(name, d) for name in HANDFUL[:-1] for d in ("float32", "bfloat16")}


@pytest.mark.slow
def test_the_page_is_what_the_script_says_today(rows):
    page = PAGE.read_text(encoding="utf-8").splitlines()
    written = family_page.write_page(rows).splitlines()
    tables = [line for line in written if line.startswith(("| ", "- codegen"))]
    assert len(tables) == 2 * len(HANDFUL) + 1  # two heads, two lines per family, one for codegen
    assert [line for line in tables if line not in page] == []
    assert written[: written.index("## Reading")] == page[: page.index("## Reading")]


def test_the_page_has_every_family_and_26_at_least_are_right():
    page = PAGE.read_text(encoding="utf-8")
    lines = [line[2:] for line in page.splitlines()]
    told = [name for name in FAMILIES if any(re.match(rf"{name} [|(]", line) for line in lines)]
    assert told == list(FAMILIES)
    assert "WRONG" not in page
    reading = page[page.index("## Reading") : page.index("## Acting")]
    assert sum(line.count("| right | right |") > 0 for line in reading.splitlines()) >= 26


FALSE = {
    "stream": (
        comparisons,
        "_seen",
        lambda right: lambda *a: {k: [1.1 * x for x in v] for k, v in right(*a).items()},
    ),
    "heads": (
        comparisons,
        "contributions_at",
        lambda right: lambda *a, **how: 1.2 * right(*a, **how),
    ),
    "neurons": (
        comparisons,
        "contributions_at",
        lambda right: lambda *a, **how: right(*a, **how)[:, ::-1],
    ),
    "patch stream": (Prefix, "run", lambda right: lambda self, edits: right(self, ())),
    "patch added": (Prefix, "run", lambda right: lambda self, edits: right(self, ())),
    "ablate heads": (Prefix, "run", lambda right: lambda self, edits: right(self, ())),
    "ablate neurons": (Prefix, "run", lambda right: lambda self, edits: right(self, ())),
    "generate": (
        LanguageModel,
        "generate",
        lambda right: lambda self, rows, how: [row[::-1] for row in right(self, rows, how)],
    ),
    "steer": (comparisons, "add", lambda right: lambda vector: right(-vector)),
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", FALSE)
def test_a_false_number_is_called_wrong(method, dtype, tmp_path, monkeypatch):
    """The comparison sees it: each method, made false on purpose, no longer is right."""
    folder = make_model_folder("llama", tmp_path / "llama")
    monkeypatch.setattr(families, "METHODS", {method: METHODS[method]})
    assert judge(folder, dtype=dtype)[method].word == "right"
    place, name, falsify = FALSE[method]
    monkeypatch.setattr(place, name, falsify(getattr(place, name)))
    assert judge(folder, dtype=dtype)[method].word == "wrong"


@pytest.mark.parametrize(("family", "method"), [("granite", "heads"), ("granite", "neurons")])
def test_what_is_refused_would_be_false(family, method, tmp_path, monkeypatch):
    folder = make_model_folder(family, tmp_path / family)
    monkeypatch.setattr(families, "METHODS", {method: METHODS[method]})
    assert judge(folder, dtype="float32")[method].word == "refused"
    monkeypatch.setattr(families, "refusal", lambda *args: None)
    assert judge(folder, dtype="float32")[method].word == "wrong"


def test_a_refusal_names_its_check(tmp_path, monkeypatch):
    folder = make_model_folder("llama", tmp_path / "llama")
    monkeypatch.setattr(families, "refusal", lambda *args: Refusal("head sum", "..."))
    assert set(judge(folder, dtype="float32").values()) == {("refused", "head sum")}


def test_plain_finds_what_a_block_writes():
    """By hand on a Llama: o_proj and down_proj of a block, and the product with a head's rows."""
    model = make_model("llama", 60).requires_grad_(False)
    plain = Plain(model, n_layers=3, d_model=32)
    ids, layer = [1, 9, 14, 30], 1
    block = model.model.layers[layer]
    assert plain.writers[layer][:2] == (block.self_attn.o_proj, block.mlp.down_proj)
    kept = {}
    block.self_attn.o_proj.register_forward_pre_hook(lambda module, args: kept.update(z=args[0][0]))
    stream = plain.stream(ids)
    states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states
    assert torch.equal(stream[layer], states[2][0])
    weight = block.self_attn.o_proj.weight
    for found, expected in (
        (
            plain.part(ids, layer, "attention", slice(8, 16), frozen=False),
            kept["z"][:, 8:16] @ weight[:, 8:16].T,
        ),
        (plain.added(ids, layer, "attention"), kept["z"] @ weight.T),
    ):
        assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))
    assert without(slice(0, 2))(torch.ones(3)).tolist() == [0, 0, 1]


def test_a_family_that_is_not_there_is_named():
    with pytest.raises(UsageError, match="unknown family 'gpt5': expected some of gpt2, llama"):
        tabulate(["gpt5"])

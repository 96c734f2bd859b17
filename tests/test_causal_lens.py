"""The logit lens and what heads attend to: against plain Hugging Face modules, and true of a
planted circuit.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from interp.causal.bench import Bench
from interp.causal.forward import encode_stimuli, run_forward
from interp.causal.keywords import TOKEN_CLASSES, keyword_rows, keywords_of
from interp.causal.lens import final_logits, lens_rows
from interp.causal.readout import Readout
from interp.errors import StatisticsError, UsageError
from interp.models import load
from interp.sites import Site
from interp.testbeds import planted
from stimuli.battery import Pair
from support.given_directions import given
from test_causal_ablation import STORY
from test_causal_layers import FINAL, PAIRS, SPEC, SUFFIX, TRUTH, naive, of, told_apart, value

NORMS = {"gpt2": "transformer.ln_f", "llama": "model.norm", "gemma2": "model.norm"}


@cache
def bench_of(name):
    model = load(name, check=False)
    directions = {one: given(TRUTH.direction(one, FINAL), FINAL, 2.0) for one in ("joy", "trust")}
    readout = planted.readout(SPEC)
    return Bench(model, PAIRS, directions, Readout({one: readout[one] for one in directions}, ""))


@pytest.mark.parametrize("family", NORMS)
def test_the_lens_is_the_models_own_norm_unembedding_and_cap(tiny_model, family):
    model = tiny_model(family)
    bench, *_ = told_apart(model)
    rows = encode_stimuli(model, [STORY.affective, STORY.neutral], bench.readout)
    sites = [Site("resid_post", layer) for layer in range(3)]
    whole = run_forward(model, rows, read=sites)
    last = [len(row.tokens) - 1 for row in rows]
    torch.testing.assert_close(
        final_logits(model, whole.at(sites[2], last)), whole.logits, atol=1e-4, rtol=1e-4
    )
    hf = model.plain().eval()
    stream = whole.at(sites[1], last)
    with torch.no_grad():
        expected = hf.lm_head(hf.get_submodule(NORMS[family])(stream))
    cap = getattr(hf.config, "final_logit_softcapping", None)
    assert (cap is not None) == (family == "gemma2")
    expected = expected if cap is None else cap * torch.tanh(expected / cap)
    torch.testing.assert_close(final_logits(model, stream), expected, atol=1e-4, rtol=1e-4)


def test_the_rows_of_the_lens_are_the_readouts_contrast_layer_by_layer(tiny_model):
    model = tiny_model("llama")
    bench, text, twin = told_apart(model)
    rows = lens_rows(bench)
    hf, ids = model.plain().eval(), model.tokenizer.convert_tokens_to_ids
    ends = [len(model.tokenize([one.text])[0]) - 1 for one in STORY]
    v = bench.directions["fear"].vector
    for layer in range(3):
        for control, tokens, end in (("", text, ends[0]), ("twin", twin, ends[1])):
            _, seen = naive(hf, "llama", tokens, {})
            stream = seen[layer, "resid_post"]
            with torch.no_grad():
                told = hf.lm_head(hf.model.norm(stream[-1])).log_softmax(-1)
            afraid, *others = (float(told[ids(one)]) for one in ("afraid", "happy", "angry"))
            here = {"site": "resid_post", "layer": layer, "emotion": "fear", "control": control}
            found = value(rows, metric="lens_contrast", **here)
            assert found == pytest.approx(afraid - np.mean(others), abs=2e-5)
            along = value(rows, metric="lens_projection", **here)
            assert along == pytest.approx(stream[end].double().numpy() @ v, abs=1e-4)


def test_the_lens_sees_planted_words_from_the_neurons_on_and_none_where_none_are():
    rows = lens_rows(bench_of("planted"))
    here = {"metric": "lens_contrast_above_twin", "emotion": "all", "site": "resid_post"}
    for layer in range(SPEC.n_layers):
        (found,) = of(rows, **here, layer=layer)
        if layer >= SPEC.neuron_layer:
            assert found["value"] > 2
            assert found["p_corrected"] < 0.05
        else:
            assert abs(found["value"]) < 0.3
    along = value(rows, metric="lens_projection_above_twin", emotion="joy", site="resid_post",
                  layer=FINAL.layer)  # fmt: skip
    joy = [pair.affective for pair in PAIRS if pair.affective.emotion == "joy"]
    moved = [TRUTH.projection(one, "joy") - TRUTH.without_head(one, "joy") for one in joy]
    assert along == pytest.approx(np.mean(moved) / 2.0, rel=0.01)
    silent = of(lens_rows(bench_of("planted_null")), **here)
    assert len(silent) == SPEC.n_layers
    assert not [row for row in silent if row["p_corrected"] <= 0.05]


def test_a_word_that_begins_as_another_emotions_is_refused_by_the_lens(tiny_model):
    bench, *_ = told_apart(tiny_model("llama"))
    readout = Readout({"fear": ["the dog"], "joy": ["the child"], "anger": ["angry"]}, SUFFIX)
    with pytest.raises(UsageError, match="the words for fear begin with the same tokens"):
        lens_rows(replace(bench, readout=readout))
    with pytest.raises(UsageError, match="the readout has no words for 'fear'"):
        lens_rows(replace(bench, readout=Readout({"joy": ["happy"]}, SUFFIX)))


KNOWN = keywords_of({"fear": ["Afraid"]}, {"articles": ["the"], "conjunctions": ["and"]})
TOLD = replace(STORY.affective, text="the afraid dog bit the small child and ran")
TWIN = replace(STORY.neutral, text="the afraid dog saw the child and ran")
CLASSES = ["function", "emotion", "content", *["edit"] * 3, "content", "function", "content"]
OF_TWIN = ["function", "emotion", "content", "edit", "edit", "content", "function", "content"]


@pytest.mark.parametrize("family", NORMS)
def test_attention_by_class_equals_that_of_plain_modules(tiny_model, family):
    """Grouped queries and post-norms among them. `bit the small` stands where `saw the` does."""
    model = tiny_model(family)
    rows = keyword_rows(model, [Pair(TOLD, TWIN)], KNOWN, layers=[1])
    hf = model.plain().eval()
    hf.set_attn_implementation("eager")
    before = [] if family == "gpt2" else ["bos"]
    for control, text, classes in (("", TOLD, CLASSES), ("twin", TWIN, OF_TWIN)):
        tokens = torch.tensor(model.tokenize([text.text]))
        assert tokens.shape[1] == len(classes) + len(before)
        with torch.no_grad():
            pattern = hf(tokens, output_attentions=True).attentions[1][0, :, -1].numpy()
        member = np.array([[one == name for name in TOKEN_CLASSES] for one in [*before, *classes]])
        for head in range(model.dims.n_heads):
            for place, target in enumerate(TOKEN_CLASSES):
                here = {"head": head, "target": target, "metric": "attention_share"}
                expected = pattern[head] @ member[:, place]
                assert value(rows, **here, control=control) == pytest.approx(expected, abs=1e-5)
                if not control:
                    even = value(rows, **here, control="uniform")
                    assert even == pytest.approx(member[:, place].mean())
                    most = value(rows, head=head, target=target, metric="most_attended")
                    assert most == member[pattern[head].argmax(), place]
    assert {row["layer"] for row in rows} == {1}


def test_texts_that_are_told_twice_count_twice(tiny_model):
    """In one batch, where each has a row of its own."""
    model = tiny_model("llama")
    once, twice = (keyword_rows(model, [Pair(TOLD, TWIN)] * n, KNOWN, layers=[1]) for n in (1, 2))
    assert [row["value"] for row in once] == pytest.approx([row["value"] for row in twice])
    assert {row["n"] for row in twice} == {2}


def test_planted_heads_look_at_the_slot_as_much_in_the_neutral_twin():
    rows = keyword_rows(bench_of("planted").model, PAIRS, keywords_of({}, {}))
    heads = {head for found in TRUTH.heads.values() for _, head in found}
    for head in heads:
        here = {"layer": SPEC.head_layer, "head": head, "target": "edit"}
        (even,) = of(rows, metric="attention_share_above_uniform", **here)
        (twin,) = of(rows, metric="attention_share_above_twin", **here)
        assert even["value"] > 0.8
        assert even["p_corrected"] < 0.05
        assert abs(twin["value"]) < 0.01
        assert twin["p_corrected"] > 0.05


def test_a_model_that_does_not_show_its_attention_is_refused_by_name(tiny_model, monkeypatch):
    model = tiny_model("llama")
    with pytest.raises(StatisticsError, match="none was given"):
        keyword_rows(model, [], KNOWN)
    with pytest.raises(UsageError, match=r"layers \[3\].* has layers 0\.\.2"):
        keyword_rows(model, [STORY], KNOWN, layers=[3])
    with pytest.raises(UsageError, match="name at least one"):
        keyword_rows(model, [STORY], KNOWN, layers=[])
    offers = type(model).offers
    monkeypatch.setattr(
        type(model), "offers", lambda self, site: site.name != "pattern" and offers(self, site)
    )
    with pytest.raises(UsageError, match=r"has no blocks\.0\.attn\.hook_pattern"):
        keyword_rows(model, [STORY], KNOWN)


def test_attention_that_does_not_sum_to_one_is_refused_with_its_site(tiny_model, monkeypatch):
    def halved(*arguments, **named):
        found = run_forward(*arguments, **named)
        return found._replace(sites={site: x / 2 for site, x in found.sites.items()})

    monkeypatch.setattr("interp.causal.keywords.run_forward", halved)
    with pytest.raises(UsageError, match=r"blocks\.1\.attn\.hook_pattern does not sum to one"):
        keyword_rows(tiny_model("llama"), [STORY], KNOWN, layers=[1])

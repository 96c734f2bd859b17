"""Words of several tokens: scored whole, equal to a naive loop that reads text and word anew, edits
and all.
"""

import numpy as np
import pytest
import torch

import interp.causal.words
from interp.causal.ablation import ablate
from interp.causal.bench import Bench, Knockout
from interp.causal.contributions import Component
from interp.causal.edits import add, zero
from interp.causal.forward import encode_stimuli, run_forward
from interp.causal.interventions import Intervention, applied
from interp.causal.knockout import measure
from interp.causal.patching import Patches, patch_pairs
from interp.causal.prefix import Prefix
from interp.causal.readout import Readout
from interp.causal.steering import dose_response
from interp.causal.words import text_scores, word_scores
from interp.errors import InternalError, UsageError
from interp.evaluation.readouts import readout_for
from interp.models import load
from interp.results import table
from interp.sites import Site
from stimuli.battery import Pair, Stimulus
from support.given_directions import given

LONG = Readout(
    {
        "joy": ["so good", "good day", "good day now"],
        "fear": ["afraid of it", "afraid of the night"],
        "anger": ["angry"],
    },
    " . he feels",
)
WHOLE = Readout({"joy": ["happy", "good"], "fear": ["afraid"], "anger": ["angry"]}, " . he feels")
TEXTS = (
    "the dog ran home and anna cried",
    "ben won",
    "the cold night was long and the rain was loud so he kept the lamp on until the sun rose "
    "over the hill and the sea",
    "we saw the sea",
)
SITES = (Site("resid_post", 0), Site("resid_post", 1))


@pytest.fixture(scope="module", params=["llama", "gpt2", "gemma2", "gpt_neo"])
def model(request, tiny_folder):
    return load(str(tiny_folder(request.param)), check=False)


@pytest.fixture(scope="module")
def llama(tiny_folder):
    return load(str(tiny_folder("llama")), check=False)


def told(texts=TEXTS):
    return [Stimulus(str(i), text, "joy") for i, text in enumerate(texts)]


def naive(model, row, bound, edit=None):
    """The scores of one text: each word read behind it in a pass of its own, from the first token
    on.

    `edit` gives an intervention for a row of so many tokens.
    """
    scores = []
    for words in bound.scored.values():
        found = []
        for word in words:
            batch = model.pad([[*row.tokens, *word[:-1]]])
            edits = [] if edit is None else [edit(len(row.tokens) + len(word) - 1)]
            with applied(model, edits, lengths=batch.lengths):
                log_probs = model.forward(batch)[0].float().log_softmax(-1)
            behind = len(row.tokens) - 1
            found.append(sum(float(log_probs[behind + i, token]) for i, token in enumerate(word)))
        scores.append(np.logaddexp.reduce(found))
    return scores


def test_words_are_found_whole_and_none_counts_twice(llama):
    bound = LONG.bind(llama)
    ids = llama.tokenizer.convert_tokens_to_ids
    spelled = [llama.tokenizer.convert_ids_to_tokens(list(word)) for word in bound.scored["joy"]]
    # "good day now" is part of "good day"
    assert sorted(spelled) == [["good", "day"], ["so", "good"]]
    assert bound.words["joy"]["good day now"] == tuple(ids(["good", "day", "now"]))
    assert bound.described(llama)["words"]["fear"] == {
        "afraid of it": "afraid of it",
        "afraid of the night": "afraid of the night",
    }
    assert bound.beginnings("fear") == (
        tuple(ids(["afraid"])),
        tuple(ids(["afraid", "of"])),
        tuple(ids(["afraid", "of", "the"])),
    )


def test_unedited_texts_equal_the_naive_loop(model):
    bound, rows = LONG.bind(model), encode_stimuli(model, told(), LONG)
    found = text_scores(model, rows, bound)
    torch.testing.assert_close(
        found,
        torch.tensor([naive(model, row, bound) for row in rows]).float(),
        rtol=1e-4,
        atol=2e-4,
    )


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("reach", [False, True])
def test_edited_rows_equal_the_naive_loop(model, site, reach):
    """Rows in another order and twice, an edit at the first or a later layer, at a text's end alone
    or from there on.
    """
    bound, rows = LONG.bind(model), encode_stimuli(model, told(), LONG)
    chosen = [2, 0, 3, 2]
    v = torch.randn(4, model.dims.d_model, generator=torch.Generator().manual_seed(1)) * 3
    prefix = Prefix(model, rows, [row.end for row in rows])
    ends = torch.tensor([rows[i].end for i in chosen])[:, None]
    width = torch.arange(max(len(row.tokens) for row in rows))
    where = (width >= ends, "generated") if reach else width == ends
    found = word_scores(
        prefix.run([Intervention(site, add(v), where)], rows=chosen, further=True), bound
    )
    for place, i in enumerate(chosen):

        def edit(length, place=place, i=i):
            at = torch.arange(length)[None]
            return Intervention(
                site, add(v[place]), at >= rows[i].end if reach else at == rows[i].end
            )

        assert found[place].tolist() == pytest.approx(
            naive(model, rows[i], bound, edit), rel=1e-4, abs=3e-4
        )


def test_where_an_emotion_has_whole_words_no_other_is_read_on_for(llama):
    mixed = Readout({"joy": ["happy", "so good"], "fear": ["afraid of it"]}, " . he feels").bind(
        llama
    )
    assert list(mixed.words["joy"]) == ["happy"]
    assert list(mixed.words["fear"]) == ["afraid of it"]
    assert Readout({"joy": ["happy", "so good"]}, " . he feels").bind(llama).whole


def test_only_what_is_wanted_is_read(llama, monkeypatch):
    bound, rows = LONG.bind(llama), encode_stimuli(llama, told(), LONG)
    whole = text_scores(llama, rows, bound)
    prefix, read = Prefix(llama, rows, [99] * 4), []
    plain = interp.causal.prefix.Behind.read
    monkeypatch.setattr(
        interp.causal.prefix.Behind,
        "read",
        lambda self, at, ids: read.append(ids.numel()) or plain(self, at, ids),
    )
    wanted = torch.tensor([[True, False, False]] * 2 + [[False, False, True]] * 2)
    some = word_scores(prefix.run([], further=True), bound, wanted=wanted)
    assert sum(read) == 2 * 2  # two beginnings, "so" and "good", in two rows
    torch.testing.assert_close(some[wanted], whole[wanted])
    with pytest.raises(InternalError, match="cannot be read on"):
        word_scores(prefix.run([]), bound)
    with pytest.raises(UsageError, match="have several tokens"):
        bound.scores(prefix.run([]).logits)


@pytest.mark.parametrize("name", ["planted", "storyworld"])
def test_the_testbeds_are_scored_as_by_the_next_token_alone(name):
    model, words = load(name, check=False), readout_for(name, ("joy", "fear", "anger"))
    bound, rows = (
        words.bind(model),
        encode_stimuli(model, told(("the river waits .", "a road .")), words),
    )
    logits = run_forward(model, rows).logits
    log_probs = logits.float().log_softmax(-1)
    ids = [
        sorted(
            model.tokenizer(f" {word}", add_special_tokens=False)["input_ids"][0]
            for word in words.words[emotion]
        )
        for emotion in words.words
    ]
    expected = torch.stack([log_probs[:, own].logsumexp(-1) for own in ids], dim=-1)
    assert bound.whole
    assert torch.equal(text_scores(model, rows, bound), expected)


def test_words_of_one_token_cost_nothing_and_change_no_digit(model, monkeypatch):
    monkeypatch.setattr(interp.causal.prefix.Behind, "read", None)
    bound, rows = WHOLE.bind(model), encode_stimuli(model, told(), WHOLE)
    logits = Prefix(model, rows, [99] * 4).run([]).logits
    log_probs = logits.float().log_softmax(-1)
    today = torch.stack(
        [log_probs[:, sorted(bound.tokens[emotion])].logsumexp(-1) for emotion in WHOLE.words],
        dim=-1,
    )
    assert bound.whole
    assert torch.equal(word_scores(Prefix(model, rows, [99] * 4).run([]), bound), today)


def pairs():
    turns = [
        ("anna lost the old letter", "anna found the old letter"),
        ("we heard a cry by the door", "we heard a bird by the door"),
    ]
    return [
        Pair(
            Stimulus(f"{i}a", text, "fear", pair=str(i), group=str(i)),
            Stimulus(f"{i}n", twin, "neutral", pair=str(i), group=str(i)),
        )
        for i, (text, twin) in enumerate(turns)
    ]


def test_knock_outs_are_scored_by_whole_words(llama):
    made = given(np.eye(32)[0], Site("resid_post", 2), 1.0, llama.provenance)
    bench = Bench(llama, pairs(), {"fear": made}, LONG)
    plans = [Knockout((), (0, 1)), Knockout((Component("z", 1, 2),), (0, 1))]
    found = measure(bench, plans, mode="zero").score
    bound, rows = (
        LONG.bind(llama),
        encode_stimuli(llama, [pair.affective for pair in bench.pairs], LONG),
    )
    for i, row in enumerate(rows):

        def edit(length, row=row):
            at = torch.arange(length)[None]
            return Intervention(Site("z", 1, 2), zero(), (at >= row.first) & (at < len(row.tokens)))

        assert found[0, i] == pytest.approx(naive(llama, row, bound)[1], abs=3e-4)
        assert found[1, i] == pytest.approx(naive(llama, row, bound, edit)[1], abs=3e-4)
    assert abs(found[1] - found[0]).min() > 1e-3
    assert ablate(bench, {"fear": [Component("z", 1, 2)]}, ks=(1,), n_draws=2, mode="zero")


def test_patching_is_scored_by_whole_words(llama):
    """The unpatched difference of twins, and a patch that makes the other text."""
    bound, twins = LONG.bind(llama), pairs()
    rows = table(
        patch_pairs(
            llama,
            twins,
            LONG,
            Patches(sites=("resid_post@2",), positions=("last",), modes=("denoise",)),
        )
    )
    scores = [
        [
            naive(llama, row, bound)
            for row in encode_stimuli(llama, [getattr(pair, arm) for pair in twins], LONG)
        ]
        for arm in ("affective", "neutral")
    ]
    source, target = (bound.contrast(np.array(found), ["fear"] * 2) for found in scores)
    total = rows[(rows["metric"] == "total_effect") & (rows["emotion"] == "fear")]["value"]
    assert float(total.iloc[0]) == pytest.approx(float((source - target).mean()), abs=5e-4)


def test_a_dose_reaches_the_words_own_tokens(llama):
    made = given(np.eye(32)[3], SITES[1], 1.0, llama.provenance)
    rows = table(dose_response(llama, told()[:2], {"fear": made}, LONG, scales=(4.0,)))
    bound, encoded = LONG.bind(llama), encode_stimuli(llama, told()[:2], LONG)
    v = torch.eye(32)[3] * 4

    def edit(length, end):
        return Intervention(SITES[1], add(v), torch.arange(length)[None] >= end)

    expected = [naive(llama, row, bound, lambda n, row=row: edit(n, row.end))[1] for row in encoded]
    steered = rows[rows["control"] == ""]
    assert float(steered["value"].iloc[0]) == pytest.approx(np.mean(expected), abs=5e-4)
    assert set(rows["position"]) == {"last_content"}

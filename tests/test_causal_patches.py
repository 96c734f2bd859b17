"""Patches beyond the twins' usual ones: every place, way, control and metric equals plain forwards
with hooks; swaps between emotions find the planted place and nothing without a circuit.
"""

import dataclasses
from functools import cache

import numpy as np
import pytest
import torch

from interp.causal import patching, transplants
from interp.causal.forward import Encoded, encode_stimuli
from interp.causal.patches import CONTROLS, MEASURES, MODES, Patches
from interp.causal.patching import patch_pairs
from interp.causal.readout import Readout
from interp.causal.restoration import COPY, SAME_NORM, moved_answers
from interp.causal.swaps import matched_sources, swap_cases
from interp.causal.transplants import PairTexts, random_of_same_norm
from interp.errors import DataError, StatisticsError, UsageError
from interp.models import load
from interp.results import table
from interp.testbeds import planted
from stimuli.battery import NEUTRAL, Pair, Stimulus
from stimuli.splits import balanced, of_other_emotions, whole_scenarios

SUFFIX = " . he feels"
READOUT = Readout({"joy": ["happy"], "fear": ["afraid"], "anger": ["angry"]}, SUFFIX)
EVERYWHERE = ("last", "edit", "first", "all", "span(where)")


def pair(name, group, emotion, affective, neutral, where):
    fields = {"where": where}
    return Pair(
        Stimulus(f"{name}a", affective, emotion, "keyword_free", name, group, fields=fields),
        Stimulus(f"{name}n", neutral, NEUTRAL, "neutral", name, group, fields=fields),
    )


TOLD = {
    "g0": ("the dog {} the child and ran", "and ran", "saw"),
    "g1": ("anna {} the old key near the river", "the old key", "kept with the friend"),
}
TURNS = {"fear": "broke and hurt", "joy": "found", "anger": "lost again"}
PAIRS = [
    pair(f"{group}-{emotion}", group, emotion, text.format(turn), text.format(still), where)
    for group, (text, where, still) in TOLD.items()
    for emotion, turn in TURNS.items()
]
"""Two scenarios, each told under three emotions, all of them of unequal lengths."""


STRANGE = ("random_source", "other_emotion")
"""Controls that are texts, which some cases lack."""


class Recorder:
    """Runs `patched_cells` and keeps what it was given and gave."""

    def __init__(self):
        self.run, self.calls = patching.patched_cells, []

    def __call__(self, model, cases, bound, *given):
        self.calls.append((cases, bound, self.run(model, cases, bound, *given)))
        return self.calls[-1][2]


def layers_of(hf):
    return hf.transformer.h if hasattr(hf, "transformer") else hf.model.layers


class ByHand:
    """Plain forwards of a Hugging Face model, one text at a time, with hooks on its blocks: what
    each block reads (number 0) and writes.
    """

    def __init__(self, hf):
        self.hf, self.kept = hf, {}
        self.goal, self.held = cache(self.logits), cache(self._held)

    def logits(self, tokens, exchanged=None):
        """Behind the last token; `exchanged` is {layer: {position: vector}}, -1 the first's
        input.
        """
        handles = [layers_of(self.hf)[0].register_forward_pre_hook(self._reading(exchanged))]
        for layer, block in enumerate(layers_of(self.hf)):
            handles.append(block.register_forward_hook(self._writing(layer, exchanged)))
        with torch.no_grad():
            found = self.hf(torch.tensor([tokens])).logits[0, -1]
        for handle in handles:
            handle.remove()
        return found.log_softmax(-1).numpy().astype(float)

    def _held(self, tokens):
        self.logits(tokens)
        return dict(self.kept)

    def _put(self, x, layer, exchanged):
        new = x.clone()
        for position, vector in (exchanged or {}).get(layer, {}).items():
            new.reshape(-1, x.shape[-1])[position] = vector
        self.kept[layer] = new.reshape(-1, x.shape[-1]).clone()
        return new

    def _reading(self, exchanged):
        return lambda module, args: (self._put(args[0], -1, exchanged), *args[1:])

    def _writing(self, layer, exchanged):
        def hook(module, args, output):
            if isinstance(output, tuple):
                return (self._put(output[0], layer, exchanged), *output[1:])
            return self._put(output, layer, exchanged)

        return hook


def measured_by_hand(hand, case, position, control, layer, columns):
    """Scores, KL to the source and KL to the target of one case."""
    source = case.strangers.get(control, case.source)
    come, go = case.moves[position, control if control in case.strangers else ""]
    held = hand.held(source.tokens)
    layers = [-1, *range(len(layers_of(hand.hf)))] if control == COPY else [layer]
    turned = (lambda x: x.flip(-1)) if control == SAME_NORM else (lambda x: x)
    exchanged = {
        one: {int(b): turned(held[one][int(a)]) for a, b in zip(come, go, strict=True)}
        for one in layers
    }
    patched = hand.logits(case.target.tokens, exchanged)
    goals = [hand.goal(text.tokens) for text in (case.source, case.target)]
    kl = [float((np.exp(patched) * (patched - goal)).sum()) for goal in goals]
    return patched[columns], *kl


@pytest.mark.parametrize(("family", "modes"), [("gpt2", ("swap",)), ("llama", MODES)])
def test_every_patch_equals_plain_forwards_with_hooks(family, modes, tiny_folder, monkeypatch):
    model = load(str(tiny_folder(family)), check=False)
    record = Recorder()
    monkeypatch.setattr(patching, "patched_cells", record)
    monkeypatch.setattr(transplants, "random_of_same_norm", lambda values, draw: values.flip(-1))
    asked = Patches(
        sites=("resid_post@1",),
        positions=EVERYWHERE,
        modes=modes,
        controls=CONTROLS,
        metrics=MEASURES,
    )
    rows = table(patch_pairs(model, PAIRS[:4], READOUT, asked))
    hand, apart, seen = ByHand(model.plain().eval()), 0.0, set()
    for cases, bound, cells in record.calls:
        columns = [bound.tokens[emotion][0] for emotion in bound.emotions]
        for (_, position, control), cell in cells.items():
            if position not in EVERYWHERE:
                continue
            for at, case in enumerate(cases):
                if control in STRANGE and control not in case.strangers:
                    assert np.isnan(cell["scores"][at]).all()
                    continue
                scores, kl, kl_target = measured_by_hand(hand, case, position, control, 1, columns)
                apart = max(apart, abs(cell["scores"][at] - scores).max())
                apart = max(apart, abs(cell["kl"][at] - kl), abs(cell["kl_target"][at] - kl_target))
            seen.add((position, control))
    assert len(record.calls) == len(modes)
    assert len(seen) == len(EVERYWHERE) * (2 + len(CONTROLS))
    assert apart < 1e-5
    assert set(rows["mode"]) == set(modes)


def test_the_rows_of_swaps_are_these_contrasts_of_the_scores(llama, monkeypatch):
    """Each case by hand: the source's emotion against the target's, and against the third one."""
    record, swaps = Recorder(), []
    monkeypatch.setattr(patching, "patched_cells", record)

    def keeping(*given, **how):
        swaps.extend(swap_cases(*given, **how))
        return swaps

    monkeypatch.setattr(patching, "swap_cases", keeping)
    asked = Patches(
        sites=("resid_post@1",), positions=("edit",), modes=("swap",), metrics=("success", "kl")
    )
    rows = table(patch_pairs(llama, PAIRS, READOUT, asked))
    ((_, bound, cells),) = record.calls
    expected = {"logit_diff_target": [], "logit_diff_others": [], "success": [], "kl": []}
    (node,) = {key[0] for key in cells if key[0] is not None}
    for at, (case, own) in enumerate(swaps):
        other = case.pair.affective.emotion
        (third,) = set(TURNS) - {own, other}
        score = dict(zip(bound.emotions, cells[node, "edit", ""]["scores"][at], strict=True))
        before = dict(zip(bound.emotions, cells[None, "target", ""]["scores"][at], strict=True))
        expected["logit_diff_target"].append(score[own] - score[other])
        expected["logit_diff_others"].append(score[own] - score[third])
        expected["kl"].append(cells[node, "edit", ""]["kl"][at])
        if max(before, key=before.get) != own:
            expected["success"].append(max(score, key=score.get) == own)
    told = pick(rows, control="", emotion="all", target="all", position="edit")
    told = told.set_index("metric").value
    assert len(swaps) == 12
    for metric, values in expected.items():
        assert told[metric] == pytest.approx(np.mean(values)), metric


def pick(rows, **where):
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows


def test_random_vectors_are_as_long_as_what_they_stand_for():
    values = torch.randn(3, 5, 2, 8) * 7
    drawn = [random_of_same_norm(values, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.allclose(drawn[0].norm(dim=-1), values.norm(dim=-1), rtol=1e-5)
    assert torch.equal(drawn[0], drawn[1])
    along = torch.nn.functional.cosine_similarity(drawn[0], torch.stack([values, drawn[2]]), dim=-1)
    assert along.abs().mean() < 0.5


def texts_of(model, pairs):
    told, still = ([one[side] for one in pairs] for side in (0, 1))
    return PairTexts(pairs, *(encode_stimuli(model, items, READOUT) for items in (told, still)))


@pytest.fixture(scope="module")
def llama(tiny_folder):
    return load(str(tiny_folder("llama")), check=False)


def words_at(model, text, positions):
    return model.decode([text.tokens[int(at)] for at in positions]).split()


def test_a_place_is_these_words_of_the_patched_text_and_those_that_correspond(llama):
    """The river's text is longer by a word in its edit: what stands behind the edit is counted from
    the end.
    """
    texts = texts_of(llama, PAIRS)
    asked = Patches(positions=EVERYWHERE, modes=("swap",))
    found = {
        (one.emotion, one.case.pair.affective.id): one.case for one in swap_cases(texts, asked)
    }
    case = found["joy", "g1-feara"]
    expected = {
        "first": (["anna"], ["anna"]),
        "last": (["river"], ["river"]),
        "edit": (["found"] * 3, ["broke", "and", "hurt"]),
        "span(where)": (["the", "old", "key"],) * 2,
    }
    for place, (source, target) in expected.items():
        come, go = case.moves[place, ""]
        assert words_at(llama, case.source, come) == source
        assert words_at(llama, case.target, go) == target
    come, go = case.moves["all", ""]
    assert go.tolist() == list(range(case.target.first, case.target.end + 1))
    assert " ".join(words_at(llama, case.source, come)).endswith("found the old key near the river")
    stranger = case.moves["all", "random_source"]
    assert stranger[0].max() <= case.strangers["random_source"].end


def test_a_span_may_be_characters_or_given_by_a_function(llama):
    def first_word(item):
        return [0, item.text.index(" ")]

    asked = Patches(
        sites=("resid_post@1",),
        positions=("first", "span(opening)"),
        modes=("denoise",),
        spans={"opening": first_word},
    )
    rows = table(patch_pairs(llama, PAIRS, READOUT, asked))
    moved = rows[(rows.metric == "kl") & (rows.emotion == "all") & (rows.control == "")]
    first, opening = moved.set_index("position").value[["first", "span(opening)"]]
    assert first == pytest.approx(opening, abs=1e-6)


def lacking(**fields):
    return [Pair(*(dataclasses.replace(one, fields=fields) for one in pair)) for pair in PAIRS]


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        (lacking(), r"text 'g0-fearn' has no field 'where' for span\(where\)"),
        (lacking(where=[3, 999]), r"'g0-fearn': field 'where' is \[3, 999\].*inside the text"),
        (lacking(where="the"), r"'g0-fearn': the span 'the' of field 'where' occurs 2 times"),
        (lacking(where="nowhere"), r"the span 'nowhere' of field 'where' occurs 0 times"),
    ],
)
def test_a_span_outside_the_text_is_refused_before_anything_runs(llama, pairs, told, monkeypatch):
    monkeypatch.setattr(patching, "patched_cells", None)
    asked = Patches(positions=("last", "span(where)"))
    with pytest.raises(DataError, match=told):
        patch_pairs(llama, pairs, READOUT, asked)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"positions": ("middle",)}, r"unknown position 'middle': choose from last, edit, first, "),
        ({"positions": ("span()",)}, r"unknown position rule 'span\(\)'"),
        ({"modes": ("swop",)}, "unknown mode 'swop': choose from denoise, noise, swap"),
        ({"controls": ("shuffled",)}, "unknown control 'shuffled': choose from random_source, "),
        ({"metrics": ("loss",)}, "unknown metric 'loss': choose from kl, kl_target, success"),
        ({"spans": {"here": len}}, r"given for the span 'here', and no position is span\(here\)"),
    ],
)
def test_what_cannot_be_asked(given, told):
    with pytest.raises(UsageError, match=told):
        Patches(**given)


def test_what_cannot_be_swapped(llama):
    swap = Patches(modes=("swap",))
    with pytest.raises(StatisticsError, match="at least two emotions, and all are of fear"):
        patch_pairs(llama, PAIRS[:1], READOUT, swap)
    same = dataclasses.replace(PAIRS[1].affective, text=PAIRS[0].affective.text)
    with pytest.raises(DataError, match="pair 'g0-joy': the twins are the same tokens"):
        patch_pairs(llama, [PAIRS[0], Pair(same, PAIRS[1].neutral)], READOUT, swap)


def apart(pairs):
    """The same pairs, each a scenario of its own."""
    return [Pair(*(dataclasses.replace(one, group=two[0].id) for one in two)) for two in pairs]


def test_a_source_is_of_the_same_scenario(llama):
    for emotion, chosen in matched_sources(texts_of(llama, PAIRS)).items():
        for target, one in enumerate(PAIRS):
            if emotion == one.affective.emotion:
                assert chosen[target] == -1
            else:
                source = PAIRS[chosen[target]].affective
                assert (source.emotion, source.group) == (emotion, one.affective.group)


def test_other_scenarios_give_each_text_once_to_one_of_like_length():
    """Fear's texts have 5, 9 and 6 tokens, joy's 8 and 4: one text of fear has no source of joy."""
    some = [PAIRS[0], PAIRS[1], PAIRS[3], PAIRS[4], PAIRS[0]]
    tokens = [Encoded(tuple(range(n)), n - 1) for n in (5, 8, 9, 4, 6)]
    found = matched_sources(PairTexts(apart(some), tokens, tokens))
    assert {emotion: chosen.tolist() for emotion, chosen in found.items()} == {
        "fear": [-1, 2, -1, 0, -1],
        "joy": [3, -1, 1, -1, -1],
    }


def test_whole_scenarios_are_drawn_and_others_evenly():
    drawn = whole_scenarios(PAIRS, n=4)
    assert len({one.affective.group for one in drawn}) == 1
    assert [one.affective.emotion for one in drawn] == list(TURNS)
    assert whole_scenarios(apart(PAIRS), n=3) == balanced(apart(PAIRS), n=3)
    others = of_other_emotions(PAIRS)
    for one, other in zip(PAIRS, others, strict=True):
        assert PAIRS[other].affective.emotion != one.affective.emotion
        assert PAIRS[other].affective.group != one.affective.group


def test_an_answer_moves_where_it_was_another():
    before = np.log([[0.6, 0.3, 0.1], [0.1, 0.6, 0.3], [0.1, 0.3, 0.6]])
    after = np.log([[0.1, 0.8, 0.1], [0.1, 0.8, 0.1], [0.4, 0.3, 0.3]])
    moved = moved_answers(after, before, np.array([1, 1, 1]))
    np.testing.assert_array_equal(moved, [1.0, np.nan, 0.0])
    after[0] = np.nan
    assert np.isnan(moved_answers(after, before, np.array([1, 1, 1]))[0])


SPEC, NULL = planted.SPECS["planted"], planted.SPECS["planted_null"]
TRUTH = planted.truth(SPEC)
SOME = ("joy", "fear", "anger")


def planted_swaps(spec, name, **how):
    battery = planted.stimuli(spec, n=20)
    pairs = [one for one in battery.pairs() if one.affective.emotion in SOME]
    readout = Readout({one: planted.readout(spec)[one] for one in SOME}, "")
    asked = Patches(sites=("resid_post@0,3",), modes=("swap",), metrics=MEASURES, **how)
    return table(
        patch_pairs(load(name, check=False), balanced(pairs, n=12), readout, asked), n_layers=4
    )


@pytest.fixture(scope="module")
def swapped():
    return planted_swaps(SPEC, "planted", controls=CONTROLS)


def test_a_swap_moves_the_answer_at_the_planted_place_alone(swapped):
    for metric in ("restoration_target", "restoration_others", "success"):
        found = pick(swapped, metric=metric, control="", emotion="all", target="all")
        assert len(found) == 4
        for _, row in found.iterrows():
            there = TRUTH.position(int(row["layer"])) == row["position"]
            assert row["value"] == pytest.approx(float(there), abs=0.02), (metric, row)


def test_each_two_emotions_have_their_success_and_its_chance(swapped):
    cells = pick(swapped, metric="success", control="", position="last", layer=SPEC.n_layers - 1)
    cells = cells[cells.target != "all"]
    assert len(cells) == len(SOME) * (len(SOME) - 1)
    assert (cells.value == 1).all()
    assert cells.chance.to_numpy() == pytest.approx(1 / len(SOME))
    assert (cells.n == 4).all()


def test_the_controls_bring_the_emotion_a_third_one_and_nothing(swapped):
    place = {"position": "last", "layer": SPEC.n_layers - 1, "emotion": "all", "target": "all"}
    success = pick(swapped, metric="success", **place).set_index("control").value
    assert success["random_source"] == 1
    assert success["other_emotion"] == 0
    assert success["random_of_same_norm"] < 0.7
    lead = pick(swapped, metric="restoration_others", **place).set_index("control").value
    assert lead["random_source"] == pytest.approx(1, abs=0.1)
    assert lead["other_emotion"] < 0


def test_the_copy_of_everything_is_the_most_that_a_patch_can_do(swapped):
    copied = pick(swapped, position="last", emotion="all", target="all").set_index("metric").value
    assert copied["copy_restoration_target"] == pytest.approx(1, abs=1e-4)
    assert copied["copy_kl"] < 1e-6
    assert copied["copy_success"] == 1
    assert copied["copy_kl_target"] > 1


def test_without_a_circuit_no_swap_moves_anything():
    found = planted_swaps(NULL, "planted_null", positions=("last",), controls=())
    effect = pick(found, metric="total_effect_others", emotion="all").iloc[0]
    assert effect["effect"] == "none"
    assert not found.metric.str.contains("restoration").any()
    success = pick(found, metric="success", emotion="all", target="all")
    assert ((success.ci_low <= 1 / 3) & (success.value < 0.6)).all()


def test_denoising_has_a_success_and_noising_only_with_words_for_neutral(llama):
    asked = Patches(sites=("resid_post@1",), positions=("last",), metrics=("success", "kl_target"))
    rows = table(patch_pairs(llama, PAIRS, READOUT, asked))
    assert set(rows[rows.metric == "success"]["mode"]) == {"denoise"}
    assert set(rows[rows.metric == "kl_target"]["mode"]) == {"denoise", "noise"}
    assert "kl" not in set(rows.metric)
    words = Readout({**READOUT.words, NEUTRAL: ["calm"]}, SUFFIX)
    rows = table(patch_pairs(llama, PAIRS, words, asked))
    assert set(rows[rows.metric == "success"]["mode"]) == {"denoise", "noise"}

"""The planted model's distractors, its null, its battery, and what its spec refuses."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import stimuli
from interp.errors import UsageError
from interp.sites import Site
from interp.testbeds import planted
from interp.testbeds.planted import PlantedSpec
from support.planted_run import FINAL, NULL, SPEC, Run, battery, built, clean


class TestDistractors:
    def test_write_as_much_as_the_planted_heads(self):
        run, truth = clean(SPEC), planted.truth(SPEC)
        size = {}
        for layer, block in enumerate(run.model.transformer.h):
            z = run.at["z", layer].reshape(-1, SPEC.n_heads, SPEC.d_head)
            W_O = (
                block.attn.c_proj.weight.detach()
                .double()
                .numpy()
                .reshape(SPEC.n_heads, SPEC.d_head, -1)
            )
            written = np.linalg.norm(np.einsum("ihk,hkd->ihd", z, W_O), axis=-1)
            size |= {(layer, head): written[:, head].mean() for head in range(SPEC.n_heads)}
        planted_ones = {head for heads in truth.heads.values() for head in heads}
        others = [value for key, value in size.items() if key not in planted_ones]
        assert max(others) > max(size[key] for key in planted_ones)
        assert np.median(others) > 0.5 * max(size[key] for key in planted_ones)

    def test_some_attend_to_the_evidence(self):
        model, tokenizer = built(SPEC)
        item = battery(SPEC).items[0]
        model.set_attn_implementation("eager")
        with torch.inference_mode():
            patterns = model(
                **tokenizer(item.text, return_tensors="pt"), output_attentions=True
            ).attentions
        weight = torch.stack([pattern[0, :, -1, item.fields["slot"]] for pattern in patterns])
        seen = {(layer, head) for layer, head in (weight > 0.99).nonzero().tolist()}
        planted_ones = {head for heads in planted.truth(SPEC).heads.values() for head in heads}
        assert planted_ones < seen
        assert len(seen - planted_ones) >= SPEC.n_layers
        assert len(seen) < SPEC.n_layers * SPEC.n_heads

    def test_are_the_same_without_the_circuit(self):
        truth, whole, null = planted.truth(SPEC), built(SPEC)[0], built(NULL)[0]
        changed = set()
        for layer, (block, other) in enumerate(
            zip(whole.transformer.h, null.transformer.h, strict=True)
        ):
            rows = (block.mlp.c_proj.weight - other.mlp.c_proj.weight).detach().abs().sum(1)
            changed |= {(layer, int(n)) for n in rows.nonzero()}
            heads = (
                (block.attn.c_proj.weight - other.attn.c_proj.weight)
                .detach()
                .abs()
                .reshape(SPEC.n_heads, -1)
                .sum(1)
            )
            assert {(layer, int(h)) for h in heads.nonzero()} == {
                h for hs in truth.heads.values() for h in hs if h[0] == layer
            }
        assert changed == {neuron for neurons in truth.neurons.values() for neuron in neurons}


class TestNull:
    def reception(self, spec, layer):
        run = clean(spec)
        items = [i for i in run.items if i.arm != "keyword_rich"]
        x = run.at["resid_post", layer][[run.place[i.id] for i in items]]
        y = np.array([i.emotion != "neutral" for i in items])
        groups = np.unique([i.group for i in items], return_inverse=True)[1]
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
        guess = cross_val_predict(
            probe, x, y, groups=groups, cv=GroupKFold(5), method="decision_function"
        )
        return roc_auc_score(y, guess)

    def test_knows_nothing_of_its_texts_where_the_circuit_tells(self):
        for layer in range(SPEC.n_layers):
            assert 0.35 < self.reception(NULL, layer) < 0.6
        assert self.reception(SPEC, 0) < 0.6
        for layer in range(planted.truth(SPEC).head_layer, SPEC.n_layers):
            assert self.reception(SPEC, layer) > 0.95

    def test_has_no_truth_but_the_same_battery(self):
        truth = planted.truth(NULL)
        assert not truth.heads
        assert not truth.neurons
        assert set(truth.strength.values()) == {0.0}
        assert all(
            truth.direction("joy", Site("resid_post", layer)) is None
            for layer in range(NULL.n_layers)
        )
        assert planted.stimuli(NULL).sha256 == planted.stimuli(SPEC).sha256

    def test_stays_silent(self):
        truth, run = planted.truth(NULL), clean(NULL)
        v = planted.truth(SPEC).direction("joy", FINAL)
        assert np.abs(run.at["resid_post", FINAL.layer] @ v).max() < 1e-3
        assert truth.projection(run.items[0], "joy") == 0.0


class TestBattery:
    def test_in_the_package_is_what_the_generator_makes(self, tmp_path):
        committed = Path(stimuli.__file__).with_name("planted.jsonl")
        made = stimuli.save(planted.stimuli(SPEC), tmp_path / "planted.jsonl")
        assert committed.read_bytes() == made.read_bytes()
        assert stimuli.load("planted").sha256 == planted.stimuli(SPEC).sha256

    def test_another_seed_tells_other_texts_with_the_same_words(self):
        other = planted.stimuli(SPEC, seed=1)
        assert [item.fields["situation"] for item in other] == [
            item.fields["situation"] for item in battery(SPEC)
        ]
        assert not {item.text for item in other} & {item.text for item in battery(SPEC)}

    def test_twins_differ_in_the_slot_only_and_no_invented_word_serves_twice(self):
        invented = []
        for affective, neutral in battery(SPEC).pairs():
            a, b = affective.text.split(), neutral.text.split()
            assert [i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y] == [
                affective.fields["slot"]
            ]
            invented += [a[affective.fields["slot"]], b[affective.fields["slot"]]]
            assert len(built(SPEC)[1](affective.text)["input_ids"]) == len(a)
        assert len(set(invented)) == len(invented) == 2 * len(SPEC.emotions) * SPEC.words

    def test_keyword_rich_texts_name_their_emotion_and_the_others_name_none(self):
        words = planted.readout(SPEC)
        for item in battery(SPEC):
            named = {
                emotion for emotion in SPEC.emotions if set(item.text.split()) & set(words[emotion])
            }
            assert named == ({item.emotion} if item.arm == "keyword_rich" else set())

    @pytest.mark.parametrize("n", [0, 21])
    def test_no_more_scenarios_than_words(self, n):
        with pytest.raises(UsageError, match="1 to 20"):
            planted.stimuli(SPEC, n=n)


class TestBuild:
    def test_repeats_to_the_bit_and_changes_with_the_seed(self):
        small = PlantedSpec(n_layers=2, n_heads=2, d_head=16, d_mlp=16, emotions=("joy",), words=2)
        first, again = planted.build(small)[0].state_dict(), planted.build(small)[0].state_dict()
        other = planted.build(
            PlantedSpec(
                n_layers=2, n_heads=2, d_head=16, d_mlp=16, emotions=("joy",), words=2, seed=1
            )
        )
        assert all(torch.equal(first[name], again[name]) for name in first)
        assert not torch.equal(first["lm_head.weight"], other[0].state_dict()["lm_head.weight"])

    @pytest.mark.parametrize(
        ("sizes", "message"),
        [
            ({"n_layers": 1}, "2 layers"),
            ({"emotions": ("joy", "joy")}, "each once"),
            ({"n_heads": 2, "d_head": 16}, "raise n_heads"),
            ({"neurons": 9}, "half of d_mlp"),
            ({"noise": float("nan")}, "finite noise"),
            ({"words": 0}, "a word per emotion"),
        ],
    )
    def test_refuses_sizes_without_room(self, sizes, message):
        with pytest.raises(UsageError, match=message):
            PlantedSpec(**sizes)

    def test_refuses_words_that_collide(self):
        with pytest.raises(UsageError, match="'road'"):
            planted.build(PlantedSpec(emotions=("road", "joy")))

    def test_more_noise_blurs_the_direction(self):
        specs = [PlantedSpec(n_layers=2, noise=noise, words=10) for noise in (0.0, 1.0, 8.0)]
        v = [planted.truth(spec).direction("joy", Site("resid_post", 1)) for spec in specs]
        cosines = [
            Run(spec).direction(1, "joy") @ true for spec, true in zip(specs, v, strict=True)
        ]
        assert cosines[0] > 0.99999
        assert cosines[0] > cosines[1] > 0.98 > cosines[2]

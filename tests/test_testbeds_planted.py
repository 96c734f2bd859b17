"""The planted circuit against its closed forms: directions, contributions, ablations, at two sizes
of model.
"""

import numpy as np
import pytest
import torch

from interp.errors import UsageError
from interp.sites import Site
from interp.testbeds import planted
from interp.testbeds.planted.spec import READ_GAIN, shares, subspaces
from support.planted_run import FINAL, OTHER, SPEC, Run, auroc, battery, built, clean


@pytest.mark.parametrize("spec", [SPEC, OTHER], ids=["default", "other sizes"])
class TestCircuit:
    def test_the_paired_difference_is_the_true_direction_from_the_planted_layer_on(self, spec):
        truth, run = planted.truth(spec), clean(spec)
        for emotion in spec.emotions:
            for layer in range(spec.n_layers):
                true = truth.direction(emotion, Site("resid_post", layer))
                assert (true is None) == (layer < truth.head_layer)
                if true is not None:
                    assert run.direction(layer, emotion) @ true > 0.99

    def test_with_labels_shuffled_within_pairs_the_direction_is_lost(self, spec):
        emotion, layer = spec.emotions[0], spec.n_layers - 1
        true = planted.truth(spec).direction(emotion, Site("resid_post", layer))
        n = len(clean(spec).differences(clean(spec).at["resid_post", 0], emotion))
        signs = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
        assert abs(clean(spec).direction(layer, emotion, signs) @ true) < 0.9

    @pytest.mark.parametrize("kind", ["z", "post"])
    def test_contributions_rank_the_planted_ones_first_and_in_the_order_of_their_shares(
        self, spec, kind
    ):
        truth, run = planted.truth(spec), clean(spec)
        for emotion in spec.emotions:
            own = truth.heads[emotion] if kind == "z" else truth.neurons[emotion]
            v = run.direction(truth.head_layer if kind == "z" else spec.n_layers - 1, emotion)
            scores = run.contributions(kind, v, emotion)
            assert auroc(scores, own) == 1.0
            assert sorted(scores, key=scores.get, reverse=True)[: len(own)] == list(own)

    def test_without_the_direction_loud_components_are_not_the_planted_ones(self, spec):
        truth, run = planted.truth(spec), clean(spec)
        emotion = spec.emotions[0]
        loud = {
            (layer, i): np.abs(run.at["post", layer][:, i]).mean() * row.norm().item()
            for layer, block in enumerate(run.model.transformer.h)
            for i, row in enumerate(block.mlp.c_proj.weight.detach())
        }
        assert auroc(loud, truth.neurons[emotion]) < 0.99
        v = subspaces(spec).free[0]
        assert auroc(run.contributions("z", v, emotion), truth.heads[emotion]) < 1.0

    def test_the_final_projection_has_its_closed_form(self, spec):
        truth, run = planted.truth(spec), clean(spec)
        for emotion in spec.emotions:
            v = truth.direction(emotion, Site("resid_post", spec.n_layers - 1))
            expected = [truth.projection(item, emotion) for item in run.items]
            assert run.at["resid_post", spec.n_layers - 1] @ v == pytest.approx(expected, rel=0.005)

    def test_the_model_says_the_emotion_s_words_and_none_of_them_on_neutral_texts(self, spec):
        run, words = clean(spec), planted.readout(spec)
        said = built(spec)[1].convert_ids_to_tokens(run.logits.argmax(1).tolist())
        affective = [
            word in words[i.emotion]
            for i, word in zip(run.items, said, strict=True)
            if i.emotion != "neutral"
        ]
        named = {word for own in words.values() for word in own}
        false = [
            word in named for i, word in zip(run.items, said, strict=True) if i.emotion == "neutral"
        ]
        assert np.mean(affective) > 0.98
        assert not any(false)


def ablated(kind, layer, columns, mode):
    """Zero, or replace by the neutral twin's values, columns of z or post at the last token of
    affective texts.
    """

    def edit(run):
        block = run.model.transformer.h[layer]
        source = torch.tensor(clean(run.spec).at[kind, layer][:, columns], dtype=torch.float32)
        twin = {p.affective.id: run.place[p.neutral.id] for p in battery(run.spec).pairs()}
        rows = [run.place[name] for name in twin]

        def hook(_, inputs):
            x = inputs[0].clone()
            new = 0.0 if mode == "zero" else source[list(twin.values())]
            x[
                torch.tensor(rows)[:, None], run.last[rows][:, None], torch.as_tensor(columns)[None]
            ] = new
            return (x,)

        return (block.attn if kind == "z" else block.mlp).c_proj.register_forward_pre_hook(hook)

    return edit


@pytest.mark.parametrize("mode", ["zero", "resample"])
class TestAblation:
    def final(self, edit, emotion):
        run = Run(SPEC, edit)
        items = [i for i in run.items if i.emotion == emotion and i.arm == "keyword_free"]
        v = planted.truth(SPEC).direction(emotion, FINAL)
        return items, np.array(
            [run.at["resid_post", FINAL.layer][run.place[i.id]] @ v for i in items]
        )

    @pytest.mark.parametrize("emotion", SPEC.emotions[:2])
    def test_of_the_planted_head(self, mode, emotion):
        truth = planted.truth(SPEC)
        ((layer, head),) = truth.heads[emotion]
        columns = np.arange(head * SPEC.d_head, (head + 1) * SPEC.d_head)
        items, found = self.final(ablated("z", layer, columns, mode), emotion)
        expected = np.array([truth.without_head(i, emotion) for i in items])
        whole = np.array([truth.projection(i, emotion) for i in items]) - expected
        assert np.abs(found - expected).max() < 0.01 * whole.min()

    @pytest.mark.parametrize("rank", [0, 3])
    def test_of_a_planted_neuron(self, mode, rank):
        truth, emotion = planted.truth(SPEC), "fear"
        layer, neuron = truth.neurons[emotion][rank]
        items, found = self.final(ablated("post", layer, np.array([neuron]), mode), emotion)
        expected = [truth.without_neuron(i, emotion, rank=rank, mode=mode) for i in items]
        assert found == pytest.approx(expected, rel=0.005)
        assert truth.projection(items[0], emotion) - expected[0] > 0.3

    def test_of_another_emotion_s_head_changes_nothing(self, mode):
        truth = planted.truth(SPEC)
        first = truth.heads["joy"][0]
        other = next(head for heads in truth.heads.values() for head in heads if head != first)
        columns = np.arange(other[1] * SPEC.d_head, (other[1] + 1) * SPEC.d_head)
        items, found = self.final(ablated("z", other[0], columns, mode), "joy")
        assert found == pytest.approx([truth.projection(i, "joy") for i in items], rel=0.005)


class TestTruth:
    @pytest.mark.parametrize("name", ["resid_pre", "resid_mid", "attn_out", "mlp_out"])
    def test_of_every_residual_site(self, name):
        truth = planted.truth(SPEC)
        space = subspaces(SPEC)
        message, emotion = space.message[0], space.emotion[0]
        there = {layer: truth.direction("joy", Site(name, layer)) for layer in range(SPEC.n_layers)}
        both = (message + READ_GAIN * emotion) / np.hypot(1, READ_GAIN)
        expected = {
            "resid_pre": {2: message, 3: both}, "resid_mid": {1: message, 2: message, 3: both},
            "attn_out": {1: message}, "mlp_out": {2: emotion},
        }[name]  # fmt: skip
        assert {layer for layer, v in there.items() if v is not None} == set(expected)
        assert all(v @ there[layer] == pytest.approx(1.0) for layer, v in expected.items())

    def test_refuses_what_it_does_not_know(self):
        truth = planted.truth(SPEC)
        with pytest.raises(UsageError, match="'z'"):
            truth.direction("joy", Site("z", 1))
        with pytest.raises(UsageError, match="'mean'"):
            truth.without_neuron(battery(SPEC).items[0], "joy", rank=0, mode="mean")

    def test_positions_follow_the_planted_layer(self):
        truth = planted.truth(OTHER)
        assert [truth.position(layer) for layer in range(4)] == ["edit", "edit", "last", "last"]
        assert shares(OTHER).sum() == pytest.approx(1.0)

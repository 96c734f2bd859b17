"""The step that is added: its units, mixtures, and prompts given as people give them."""

import dataclasses
import math
from itertools import pairwise

import numpy as np
import pytest

import interp
from interp.causal.edits import add
from interp.causal.forward import open_prompts
from interp.causal.steps import DOSE, UNITS, Strength, pushes, step
from interp.directions import Direction
from interp.errors import ArtefactError, DataError, UsageError
from interp.models.generation import Decoding
from interp.sites import Site

SITE = Site("resid_post", 1)
PROMPTS = ["the dog ran home", "she was"]


def along(model, axis, *, norm=4.0, scale=1.5, site=SITE):
    vector = np.eye(model.dims.d_model)[axis]
    about = {"model": model.name, "digest": model.provenance["digest"]}
    return Direction(
        vector, site, "paired", (f"axis {axis}", "mean"), scale, 0.1, about, stream_norm=norm
    )


@pytest.fixture(scope="module")
def model(tiny_model):
    return tiny_model("llama")


def test_a_unit_is_what_a_scale_of_one_adds(model):
    one = along(model, 3)
    lengths = {unit: step(one, unit)[3] for unit in UNITS}
    assert lengths == {"dose": DOSE * 4.0, "stream": 4.0, "length": 1.5}
    by_length, by_stream, by_dose = (
        interp.steer(model, PROMPTS, one, scale=scale, unit=unit, max_new_tokens=6)
        for scale, unit in ((8.0, "length"), (3.0, "stream"), (3.0 / DOSE, "dose"))
    )
    assert by_length == by_stream == by_dose != interp.generate(model, PROMPTS, max_new_tokens=6)
    assert interp.steer(model, PROMPTS, one, scale=8.0, max_new_tokens=6) == by_length


def test_without_the_streams_norm_only_lengths_can_be_asked_for(model):
    old = dataclasses.replace(along(model, 3), stream_norm=math.nan)
    with pytest.raises(UsageError, match="does not say how long the stream is"):
        interp.steer(model, PROMPTS, old, unit="stream")
    assert interp.steer(model, PROMPTS, old, max_new_tokens=1)
    with pytest.raises(UsageError, match="unknown unit of strength 'norm': choose one of dose"):
        interp.steer(model, PROMPTS, old, unit="norm")


def test_a_mixture_is_the_sum_of_its_steps(model):
    one, other = along(model, 3), along(model, 7, norm=2.0)
    mixture = [(one, 1.0), (other, -0.5)]
    rows = open_prompts(model, PROMPTS)
    total = 3.0 * (4.0 * one.vector - 0.5 * 2.0 * other.vector)
    edits = pushes(model, rows, mixture, Strength(3.0, "stream"), where="last")
    whole = interp.Intervention(SITE, add(total), "last")
    found, expected = (
        interp.causal.forward.run_forward(model, rows, interventions=some, read=[SITE])
        for some in (edits, [whole])
    )
    np.testing.assert_allclose(found.logits, expected.logits, atol=1e-5)
    assert not np.allclose(
        found.logits, interp.causal.forward.run_forward(model, rows).logits, atol=1e-2
    )
    texts = interp.steer(model, PROMPTS, mixture, scale=3.0, unit="stream", max_new_tokens=6)
    where = ("last", "generated")
    assert texts == interp.generate(
        model, PROMPTS, [interp.Intervention(SITE, add(total), where)], max_new_tokens=6
    )
    with pytest.raises(UsageError, match="the weight of a direction is nan"):
        interp.steer(model, PROMPTS, [(one, math.nan)])
    with pytest.raises(UsageError, match="2 prompts and 0 directions"):
        interp.steer(model, PROMPTS, [])


def test_one_prompt_given_alone_is_one_prompt(model, chat_model):
    one = along(model, 3)
    (alone,) = interp.steer(model, PROMPTS[0], one, scale=8.0, max_new_tokens=6)
    assert alone == interp.steer(model, PROMPTS[:1], one, scale=8.0, max_new_tokens=6)[0]
    assert interp.generate(model, PROMPTS[0]) == interp.generate(model, PROMPTS[:1])
    talk = [{"role": "user", "content": "the dog ran home"}]
    assert interp.generate(chat_model, talk) == interp.generate(chat_model, [talk])


def test_words_that_the_model_lacks_are_told_and_blanks_refused(model):
    with pytest.warns(UserWarning, match=r"lacks 2 of the words \('zebra', 'quux'\): it reads"):
        interp.generate(model, ["the zebra ran", "quux zebra home"], max_new_tokens=1)
    for ask in (interp.generate, lambda *given: interp.steer(*given, along(model, 3))):
        with pytest.raises(DataError, match="text 1 is blank"):
            ask(model, ["the dog", " \n "])


def test_the_norm_is_kept_with_the_direction_and_checked(model, tmp_path):
    one = along(model, 3)
    one.save(str(tmp_path / "one.safetensors"))
    assert Direction.load(str(tmp_path / "one.safetensors")).stream_norm == 4.0
    dataclasses.replace(one, stream_norm=math.nan).save(tmp_path / "old.safetensors")
    assert math.isnan(Direction.load(tmp_path / "old.safetensors").stream_norm)
    for norm in (0.0, -1.0, math.inf):
        with pytest.raises(ArtefactError, match="has the stream's norm"):
            dataclasses.replace(one, stream_norm=norm)


def test_what_is_written_is_told_token_by_token(model):
    heard = []
    rows = model.tokenize(PROMPTS, open_turn=True)
    written = model.generate(rows, Decoding(max_new_tokens=5), told=heard.append)
    assert heard[-1] == written
    assert [max(map(len, texts)) for texts in heard] == [1, 2, 3, 4, 5][: len(heard)]
    for before, after in pairwise(heard):
        assert all(new[: len(old)] == old for old, new in zip(before, after, strict=True))

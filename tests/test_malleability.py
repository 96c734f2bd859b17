"""A system prompt that shifts what is read is told from one that is only as long, and one that
shifts all readings alike from one that shifts its own.
"""

import json

import numpy as np
import pytest
import torch

from interp.analysis.malleability import (
    EMOTIONAL,
    MATCHED,
    OWN_PROMPT,
    OWN_TEXT,
    SystemPrompt,
    malleability_rows,
)
from interp.errors import UsageError
from interp.evaluation.malleability import prompts_by_length, read_under, require_system_role
from interp.reporting.malleability import malleability_map, told_of_malleability
from interp.results import read_table, table
from interp.sites import Site
from stimuli import save
from stimuli.battery import NEUTRAL, Battery, Stimulus
from support import crossed_texts
from support.chat_cases import turn, written
from support.commands import outcome
from support.given_directions import given

EMOTIONS = ("anger", "fear", "joy", "sadness", "trust")
N = 20


def made(*, own: float, every: float, matched: float, calm: float = 0.0, matched_own: float = 0.0):
    """Readings in which a prompt's own direction is moved by `own`, all by `every`; a matched
    prompt moves all by `matched` and that direction by `matched_own`, and a calm one the text's own
    by `calm`.
    """
    random = np.random.default_rng(2)
    labels = [EMOTIONS[at % len(EMOTIONS)] for at in range(N)]
    base = random.normal(size=(N, len(EMOTIONS)))
    kinds = ("calm", *EMOTIONS)
    prompts = [SystemPrompt(one, f"{one} {at}", f"m {one}", 9, 9) for one in kinds for at in (0, 1)]
    wordings = dict.fromkeys(text for one in prompts for text in (one.text, one.matched))
    read = {text: base + 0.05 * random.normal(size=base.shape) for text in ("n", *wordings)}
    for kind in kinds:
        read[f"m {kind}"] += matched
        if kind != "calm":
            read[f"m {kind}"][:, EMOTIONS.index(kind)] += matched_own
    for one in prompts:
        if one.kind == "calm":
            read[one.text][np.arange(N), [EMOTIONS.index(label) for label in labels]] += calm
        else:
            read[one.text] += every
            read[one.text][:, EMOTIONS.index(one.kind)] += own
    rows = malleability_rows(
        read, ["n"], prompts, list(EMOTIONS), labels=labels, groups=np.arange(N)
    )
    return table(rows)


def value(found, metric, system=EMOTIONAL, target=OWN_PROMPT, control=""):
    of = (found.metric == metric) & (found.system == system) & (found.target == target)
    (row,) = found[of & (found.control == control)].itertuples()
    return row


def test_what_was_planted_is_found():
    found = made(own=0.5, every=0.2, matched=0.3, calm=-0.4)
    assert value(found, "shift").value == pytest.approx(0.7, abs=0.05)
    assert value(found, "shift", control=MATCHED).value == pytest.approx(0.3, abs=0.05)
    assert value(found, "shift_above").value == pytest.approx(0.4, abs=0.05)
    specific = value(found, "specific")
    assert specific.ci_low < 0.5 < specific.ci_high
    assert specific.p == pytest.approx(1 / 120)
    assert value(found, "shift_above", "fear", "joy").value == pytest.approx(-0.1, abs=0.05)
    said = told_of_malleability(found)
    assert said[0].startswith("A system prompt of an emotion shifts what is read at the text's end")
    assert said[1].startswith("A calm system prompt lowers the reading of the text's own emotion")
    assert value(found, "shift", "calm", OWN_TEXT).value == pytest.approx(-0.4, abs=0.05)


def test_a_prompt_that_only_moves_everything_is_not_specific():
    found = made(own=0, every=0.5, matched=0.5)
    assert value(found, "shift").ci_low > 0.4
    assert value(found, "shift_above").ci_low < 0 < value(found, "shift_above").ci_high
    assert value(found, "specific").p > 0.05
    assert "is not found" in told_of_malleability(found)[0]


def test_a_prompt_is_no_more_specific_than_its_matched_one():
    found = made(own=0.5, every=0, matched=0, matched_own=0.5)
    specific = value(found, "specific")
    assert specific.value == pytest.approx(0, abs=0.05)
    assert specific.p > 0.05


def test_the_figure_has_both_maps_on_one_scale():
    found = made(own=0.5, every=0, matched=0.3)
    moved, matched = malleability_map(found).axes[:2]
    assert moved.images[0].get_clim() == matched.images[0].get_clim()
    np.testing.assert_allclose(matched.images[0].get_array()[1:], 0.3, atol=0.06)
    assert moved.images[0].get_array().shape == (6, 6)


def test_readings_are_those_of_the_text_behind_the_system_turn(chat_model, chat_tokenizer):
    """Against Hugging Face, on the template's own string."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2, chat_model.dims.d_model))
    site = Site("resid_post", 1)
    directions = {
        name: given(one / np.linalg.norm(one), site, 2.0)
        for name, one in zip(("joy", "fear"), vectors, strict=True)
    }
    items = [Stimulus("a", "the old dog", "joy"), Stimulus("b", "it was cold", "fear")]
    systems = ["We are calm .", "The night was dark and cold ."]
    found = read_under(chat_model, items, systems, directions)
    hf, end = chat_model.plain().eval(), chat_tokenizer.convert_tokens_to_ids("<end>")
    for system in systems:
        for at, item in enumerate(items):
            turns = [{"role": "system", "content": system}, *turn(item.text)]
            ids = chat_tokenizer.apply_chat_template(turns, tokenize=True)["input_ids"]
            last = max(place for place, one in enumerate(ids) if one == end) - 1
            with torch.no_grad():
                states = hf(torch.tensor([ids]), output_hidden_states=True).hidden_states
            x = states[2][0, last].numpy()
            expected = [float(x @ one.vector) / 2 for one in directions.values()]
            np.testing.assert_allclose(found[system][at], expected, atol=1e-4)


def test_the_control_is_the_one_of_nearest_length(chat_model):
    kinds = {"calm": ["a a a a", "a a"], "joy": ["a a a a a a a"]}
    found = prompts_by_length(chat_model, kinds, ["b", "b b b", "b b b b b b"])
    assert [(one.matched, one.tokens, one.matched_tokens) for one in found] == [
        ("b b b", 4, 3),
        ("b", 2, 1),
        ("b b b b b b", 7, 6),
    ]


def test_a_model_without_a_system_role_is_refused(chat_folder, tiny_model, tmp_path):
    with pytest.raises(UsageError, match="is given plain texts"):
        require_system_role(tiny_model("llama"))
    deaf = (
        "{% for message in messages %}{% if message.role != 'system' %}{{ message.content }} "
        "{% endif %}{% endfor %}"
    )
    with pytest.raises(UsageError, match="cannot be given a system prompt"):
        require_system_role(written(chat_folder, tmp_path, deaf))


def with_twins():
    """The crossed battery in both arms, each text with a neutral twin."""
    found = []
    for item in crossed_texts.battery():
        found += [
            item,
            Stimulus(f"{item.id}-f", item.text, item.emotion, pair=item.id, group=item.group),
            Stimulus(
                f"{item.id}-n",
                item.text.partition(" She ")[0],
                NEUTRAL,
                NEUTRAL,
                item.id,
                item.group,
            ),
        ]
    return Battery("twins", tuple(found))


def test_the_command_reads_under_system_prompts(chat_folder, tiny_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    save(with_twins(), tmp_path / "twins.jsonl")
    texts = ("--stimuli", tmp_path / "twins.jsonl", "--n-texts", 6)
    out = tmp_path / "out"
    given_ = ("--model", chat_folder, *texts, "--out", out)
    code, told = outcome("malleability", *given_, "--chat-template", "off")
    assert (code, "a system prompt needs chat turns" in told) == (2, True)
    code, told = outcome("malleability", "--model", "planted", "--out", out)
    assert (code, "is a testbed, which has no chat template" in told) == (2, True)
    code, told = outcome("malleability", "--model", tiny_folder("llama"), *texts, "--out", out)
    assert (code, "it is a base model's" in told) == (2, True)
    code, told = outcome("malleability", *given_, "--emotions", "joyy")
    assert (code, "Did you mean 'joy'?" in told) == (2, True)
    assert not out.exists()
    code, told = outcome("malleability", *given_, "--emotions", "joy,fear", "--json")
    assert code == 0, told
    assert len(json.loads(told)["said"]) == 2
    found = read_table(out / "tables" / "malleability.csv")
    assert set(found.system) == {"calm", "detached", "empathic", "fear", "joy", EMOTIONAL}
    assert {one.name for one in (out / "figures").iterdir()} == {
        "malleability_map.svg",
        "malleability_map.png",
    }

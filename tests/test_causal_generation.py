"""Generation under edits: equals loops by hand, in any batch, where the words say."""

import numpy as np
import pytest
import torch

from interp.causal import generation
from interp.causal.edits import add, rotate, zero
from interp.causal.forward import open_prompts
from interp.causal.generation import generate
from interp.causal.interventions import Intervention
from interp.errors import DataError, UsageError
from interp.models import load
from interp.models.generation import choose, undecided
from interp.sites import Site
from stimuli.battery import Stimulus

PROMPTS = ["the dog ran home", "anna", "the cold dog", "anna lost the dog", "home"]
STREAM, MLP = Site("resid_post", 0), Site("mlp_out", 1)
TALK = [
    {"role": "user", "content": "the dog ran"},
    {"role": "user", "content": "anna lost the dog"},
]


@pytest.fixture(scope="module")
def tiny(tiny_folder):
    return load(str(tiny_folder("gpt2")), check=False)


def vector(seed=0, rows=None):
    return np.random.default_rng(seed).standard_normal(32 if rows is None else (rows, 32))


def turned(x, towards, angle):
    """Each row of x turned by `angle` towards a direction, in the plane of both."""
    u = torch.from_numpy(towards / np.linalg.norm(towards)).float()
    norm = x.norm(dim=-1, keepdim=True)
    across = x - (x @ u)[:, None] * u
    across = across / across.norm(dim=-1, keepdim=True)
    now = torch.arccos((x @ u)[:, None] / norm)
    return norm * (torch.cos(now - angle) * u + torch.sin(now - angle) * across)


def test_several_edits_at_several_sites_equal_a_loop_by_hand(tiny):
    edits = [
        Intervention(STREAM, rotate(vector(), angle=0.7), "last"),
        Intervention(MLP, zero(), ("opening", "generated")),
    ]
    written = generate(tiny, PROMPTS, edits, max_new_tokens=5)
    assert written != generate(tiny, PROMPTS, max_new_tokens=5)
    hf = tiny.plain().eval()
    for prompt, text in zip(PROMPTS, written, strict=True):
        [ids] = tiny.tokenize([prompt])
        last = len(ids) - 1

        def turn(module, inputs, output, last=last):
            hidden = (output[0] if isinstance(output, tuple) else output).clone()
            hidden[:, last] = turned(hidden[:, last], vector(), 0.7)
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        def silence(module, inputs, output, last=last):
            kept = torch.arange(output.shape[1]) < last
            return output * kept[:, None]

        handles = [
            hf.transformer.h[0].register_forward_hook(turn),
            hf.transformer.h[1].mlp.register_forward_hook(silence),
        ]
        new = []
        with torch.no_grad():
            while len(new) < 5 and not (new and new[-1] in tiny.end_tokens):
                new.append(int(hf(torch.tensor([ids + new])).logits[0, -1].argmax()))
        for handle in handles:
            handle.remove()
        assert text == tiny.decode([token for token in new if token not in tiny.end_tokens])


def test_what_is_given_per_prompt_meets_its_prompt_in_every_batch(tiny, monkeypatch):
    """Values, strengths and masks of one row per prompt, in batches of two: as each alone."""
    values, scales = vector(1, rows=5), np.array([20.0, -15.0, 0.0, 30.0, -25.0])
    mask = torch.zeros(5, 4, dtype=torch.bool)
    mask[0, 0] = mask[3, 2] = True  # nothing in the third batch
    edits = [
        Intervention(STREAM, add(values, scale=scales), ("last", "generated")),
        Intervention(MLP, add(values), mask),
    ]
    whole = generate(tiny, PROMPTS, edits, max_new_tokens=6)
    monkeypatch.setattr(generation, "ROWS_AT_ONCE", 2)
    assert generate(tiny, PROMPTS, edits, max_new_tokens=6) == whole
    for row, prompt in enumerate(PROMPTS):
        alone = [Intervention(STREAM, add(values[row], scale=scales[row]), ("last", "generated"))]
        if mask[row].any():
            alone.append(Intervention(MLP, add(values[row]), mask[row : row + 1]))
        assert generate(tiny, [prompt], alone, max_new_tokens=6) == [whole[row]]
    assert whole[2] == generate(tiny, PROMPTS, max_new_tokens=6)[2]
    assert len(set(whole)) == 5


@pytest.mark.parametrize("prompt", ["anna lost the dog", TALK])
def test_the_words_name_the_text_the_template_and_what_is_written(chat_model, prompt):
    [row] = open_prompts(chat_model, [prompt])
    opening = len(row.tokens) - 1
    assert row.end < opening  # the template closes the user's turn and opens the assistant's

    def edited(where):
        met = []

        def spy(x, at):
            met.extend(at.position.tolist())
            return x.clone()

        generate(chat_model, [prompt], [Intervention(STREAM, spy, where)], max_new_tokens=3)
        return met

    assert edited("last") == [row.end]
    assert edited("opening") == [opening]
    assert edited("prompt") == list(range(opening + 1))
    behind = edited("generated")
    assert behind[: opening - row.end] == list(range(row.end + 1, opening + 1))
    assert behind == list(range(row.end + 1, row.end + 1 + len(behind)))
    assert edited(("last", "generated"))[0] == row.end
    assert edited("all") == list(range(len(edited("all"))))


def test_a_stimulus_is_its_text_or_its_conversation(chat_model):
    plain = Stimulus("a", "anna lost the dog", "joy")
    talk = Stimulus("b", "whatever it is called", "joy", fields={"messages": TALK})
    texts = ["anna lost the dog", TALK]
    written = generate(chat_model, [plain, talk], max_new_tokens=4)
    assert written == generate(chat_model, texts, max_new_tokens=4)


def test_a_seed_means_the_same_sample_again(tiny):
    asked = {"temperature": 1.0, "max_new_tokens": 8}
    drawn = [generate(tiny, ["the dog"], seed=seed, **asked) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_what_cannot_be_written_is_refused(tiny):
    with pytest.raises(UsageError, match="there is no prompt to continue"):
        generate(tiny, [])
    one_row = Intervention(STREAM, zero(), torch.ones(1, 2, dtype=torch.bool))
    with pytest.raises(UsageError, match="the mask has 1 rows and there are 2 prompts"):
        generate(tiny, ["the dog", "anna"], [one_row])
    with pytest.raises(UsageError, match=r"blocks\.9\.hook_resid_post"):
        generate(tiny, ["the dog"], [Intervention(Site("resid_post", 9), zero())])
    with pytest.raises(UsageError, match="max_new_tokens is 0"):
        generate(tiny, ["the dog"], max_new_tokens=0)


def test_logits_that_are_no_numbers_are_refused_and_not_taken_for_a_token(tiny):
    far = Intervention(Site("resid_post", 2), add(vector() * 1e38), "generated")
    for temperature in (0.0, 1.0):
        with pytest.raises(DataError, match="not finite behind 2 prompts, the first 'the dog ran"):
            generate(tiny, PROMPTS[:2], [far], max_new_tokens=3, temperature=temperature)


def test_a_token_that_cannot_come_and_a_temperature_near_zero_are_no_fault():
    logits = torch.tensor([[0.5, float("-inf"), 2.0], [3.0, 1.0, float("-inf")]])
    draw = torch.Generator().manual_seed(0)
    for temperature in (0.0, 1e-310):
        assert choose(logits, temperature=temperature, draw=draw).tolist() == [2, 0]
    assert undecided(logits) == []
    logits[1, 1] = float("nan")
    assert undecided(logits) == [1]

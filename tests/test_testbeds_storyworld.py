"""The story world: its stories need reading, its oracle reads, its battery is the committed one,
its training trains.
"""

import collections
import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline

from interp.errors import ArtefactError, UsageError
from interp.testbeds import storyworld
from interp.testbeds.storyworld import EMOTIONS, NEUTRAL, Appraisal, Story, read_reaction
from interp.testbeds.storyworld.trials import battery_lines
from interp.testbeds.storyworld.world import held_out_combination, held_out_wording, wording_ids

ROOT = Path(__file__).parent.parent


def bag(text: str) -> collections.Counter[str]:
    return collections.Counter(re.findall(r"[\w']+", text.lower()))


@pytest.fixture(scope="module")
def stories() -> list[Story]:
    return storyworld.generate_stories(320, seed=11)


@pytest.fixture(scope="module")
def held_out() -> list[Story]:
    return storyworld.generate_stories(240, seed=12, split="held_out")


# ------------------------------------------------------------------------------------------
# appraisals


def test_each_row_of_the_appraisal_table_names_its_source_and_each_emotion_is_caused() -> None:
    table = storyworld.appraisal_table()
    assert {row["emotion"] for row in table} == {*EMOTIONS, NEUTRAL}
    assert all(re.search(r"\d{4}", row["source"]) for row in table)


@pytest.mark.parametrize(
    ("valence", "agent", "status", "expected", "contaminating", "reliable", "emotion"),
    [
        ("good", "circumstance", "happened", "yes", "no", "-", "joy"),
        ("good", "other", "happened", "yes", "no", "yes", "trust"),
        ("bad", "circumstance", "may", "yes", "no", "-", "fear"),
        ("good", "circumstance", "happened", "no", "no", "-", "surprise"),
        ("bad", "circumstance", "happened", "yes", "no", "-", "sadness"),
        ("bad", "circumstance", "happened", "yes", "yes", "-", "disgust"),
        ("bad", "other", "happened", "yes", "no", "no", "anger"),
        ("good", "self", "may", "yes", "no", "-", "anticipation"),
        ("bad", "self", "happened", "yes", "no", "-", None),
    ],
)
def test_the_appraisal_decides_the_emotion(
    valence: str,
    agent: str,
    status: str,
    expected: str,
    contaminating: str,
    reliable: str,
    emotion: str | None,
) -> None:
    assert (
        Appraisal("self", valence, agent, status, expected, contaminating, reliable).emotion
        == emotion
    )
    assert (
        Appraisal("other", valence, agent, status, expected, contaminating, reliable).emotion
        == NEUTRAL
    )


def test_stories_are_labelled_by_their_appraisals(stories: list[Story]) -> None:
    for story in stories:
        assert story.appraisal.emotion == story.emotion
        assert story.twin is not None
        assert story.twin.appraisal.emotion == NEUTRAL == story.twin.emotion


def test_the_world_is_rich() -> None:
    assert len(storyworld.frames()) > 500
    assert len({frame.id for frame in storyworld.frames()}) == len(storyworld.frames())
    assert len(wording_ids()) >= 4
    assert all(len(storyworld.reactions(emotion, n=18)) == 18 for emotion in (*EMOTIONS, NEUTRAL))


# ------------------------------------------------------------------------------------------
# stories


def test_twins_are_the_same_words_and_differ_in_two_names(
    stories: list[Story], held_out: list[Story]
) -> None:
    for story in [*stories, *held_out]:
        twin = story.twin
        assert twin is not None
        assert twin.text != story.text
        assert bag(twin.text) == bag(story.text)
        pieces = re.findall(r"\w+", story.text), re.findall(r"\w+", twin.text)
        differing = [pair for pair in zip(*pieces, strict=True) if pair[0] != pair[1]]
        assert len(differing) == 2
        assert {word for pair in differing for word in pair} == {
            story.protagonist,
            story.strangers[0],
        }


def test_spans_mark_what_they_say(stories: list[Story]) -> None:
    for story in stories:
        parts = [span for span in story.spans if span.part != "edit"]
        assert " ".join(story.text[span.start : span.end] for span in parts) == story.text
        assert story.text[parts[-1].start :] == f"Then {story.protagonist}"
        edits = [story.text[span.start : span.end] for span in story.spans if span.part == "edit"]
        assert sorted(edits) == sorted([story.protagonist, story.strangers[0]])


def test_training_never_sees_a_held_out_wording_or_combination(
    stories: list[Story], held_out: list[Story]
) -> None:
    for story in stories:
        assert story.wording != held_out_wording(story.frame)
        assert not held_out_combination(story.frame, story.emotion)
    assert all(story.wording == held_out_wording(story.frame) for story in held_out)
    unseen = [story for story in held_out if story.combination == "held_out"]
    assert 0.15 < len(unseen) / len(held_out) < 0.35
    assert all(held_out_combination(story.frame, story.emotion) for story in unseen)


def test_the_wordings_that_are_held_out_for_one_frame_are_seen_with_others(
    stories: list[Story], held_out: list[Story]
) -> None:
    assert (
        {story.wording for story in held_out}
        == {story.wording for story in stories}
        == set(wording_ids())
    )


def test_generation_is_a_function_of_the_seed() -> None:
    assert storyworld.generate_stories(16, seed=3) == storyworld.generate_stories(16, seed=3)
    assert storyworld.generate_stories(16, seed=3) != storyworld.generate_stories(16, seed=4)
    assert storyworld.generate_stories(8, seed=3) == storyworld.generate_stories(16, seed=3)[:8]


def test_an_instruction_decides_the_reaction(stories: list[Story]) -> None:
    rng = random.Random(0)
    for story, emotion in zip(stories, [*EMOTIONS, NEUTRAL], strict=False):
        told = storyworld.instruct(story, emotion, rng=rng)
        assert told.text == f"{storyworld.instruction(emotion)} {story.text}"
        assert (told.emotion, told.told) == (story.emotion, emotion)
        assert read_reaction(told.reaction) == (emotion, True)
        assert told.text[told.spans[-1].start :] == f"Then {story.protagonist}"


def test_the_keyword_rich_form_names_the_feeling_and_the_keyword_free_one_does_not(
    stories: list[Story],
) -> None:
    rng = random.Random(0)
    every = {word for emotion in EMOTIONS for word in storyworld.feelings(emotion)}
    for story in stories:
        rich = storyworld.name_feeling(story, rng=rng)
        assert set(storyworld.feelings(story.emotion)) & set(bag(rich.text))
        assert not every & set(bag(story.text))
        assert (
            " ".join(rich.text[s.start : s.end] for s in rich.spans if s.part != "edit")
            == rich.text
        )


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(UsageError, match="train or held_out"):
        storyworld.generate_stories(-1, seed=0)
    with pytest.raises(UsageError, match="unknown emotion 'envy'"):
        storyworld.reactions("envy")
    with pytest.raises(UsageError, match="ask for 1 to"):
        storyworld.reactions("joy", n=1000)
    with pytest.raises(UsageError, match="1 or more"):
        storyworld.battery(scenarios_per_emotion=0)


# ------------------------------------------------------------------------------------------
# oracle


def test_the_oracle_reads_every_reaction_of_the_world(stories: list[Story]) -> None:
    for story in stories:
        assert read_reaction(story.reaction) == (story.told, True)
        assert read_reaction(
            f"Then {story.protagonist} {story.reaction}", protagonist=story.protagonist
        ) == (story.told, True)
    for emotion in (*EMOTIONS, NEUTRAL):
        assert {read_reaction(text).emotion for text in storyworld.reactions(emotion)} == {emotion}


@pytest.mark.parametrize(
    ("continuation", "emotion", "of_world"),
    [
        ("slammed the door. And then", "anger", True),
        (" slammed the gate and shouted at the sky.", "anger", True),
        ("felt rage.", "anger", True),
        ("felt nothing special and swept the floor.", NEUTRAL, True),
        ("slammed the door and swept the floor.", None, True),
        ("slammed the door", None, False),
        ("slammed the potatoes.", None, False),
        ("door the slammed.", None, False),
        ("felt the door.", None, False),
        ("slammed the door and wept in bed and swept the yard.", None, False),
        ("Mara wept in bed.", "sadness", True),
        ("Then Oren wept in bed.", None, True),
        ("", None, False),
        (".", None, False),
    ],
)
def test_the_oracle_knows_the_grammar_and_nothing_else(
    continuation: str, emotion: str | None, of_world: bool
) -> None:
    assert read_reaction(continuation, protagonist="Mara") == (emotion, of_world)


# ------------------------------------------------------------------------------------------
# battery


def test_regenerating_gives_the_committed_battery() -> None:
    assert battery_lines() == (ROOT / "stimuli" / "storyworld.jsonl").read_text(encoding="utf-8")


def test_the_battery_has_three_arms_and_sixty_scenarios_an_emotion() -> None:
    items = storyworld.battery()
    assert len({item.id for item in items}) == len(items) == 8 * 60 * 3
    assert collections.Counter(item.arm for item in items) == {
        "keyword_free": 480,
        "neutral": 480,
        "keyword_rich": 480,
    }
    assert collections.Counter(
        item.emotion for item in items if item.arm == "keyword_free"
    ) == dict.fromkeys(EMOTIONS, 60)
    assert {item.emotion for item in items if item.arm == "neutral"} == {NEUTRAL}
    assert all((item.pair is None) == (item.arm == "keyword_rich") for item in items)
    assert all(item.group == item.pair for item in items if item.pair)


def test_a_bag_of_words_cannot_tell_evoking_from_neutral_texts() -> None:
    items = [item for item in storyworld.battery() if item.arm in ("keyword_free", "neutral")]
    labels = np.array([item.arm == "keyword_free" for item in items])
    guess = cross_val_predict(
        make_pipeline(CountVectorizer(), LogisticRegression(max_iter=500)),
        [item.text for item in items],
        labels,
        groups=[item.group for item in items],
        cv=GroupKFold(5),
        method="decision_function",
    )
    assert roc_auc_score(labels, guess) <= 0.65


def test_generator_and_oracle_need_no_torch() -> None:
    code = (
        "import sys, interp.testbeds.storyworld as s; s.battery(scenarios_per_emotion=1); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


# ------------------------------------------------------------------------------------------
# training


def tiny(seed: int = 1, steps: int = 80) -> Any:
    from interp.testbeds.storyworld.recipe import Recipe

    return Recipe(
        seed=seed,
        steps=steps,
        batch=8,
        d_model=32,
        layers=2,
        heads=2,
        d_mlp=32,
        rate=0.02,
        embedding_rate=0.03,
    )


def test_a_miniature_learns_and_its_folder_loads(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from interp.testbeds.storyworld.training import train

    done = train(tmp_path, tiny())
    assert done.steps == 80
    assert done.tokens > 0
    assert done.last_loss < 0.6 * done.first_loss
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(tmp_path),
        AutoTokenizer.from_pretrained(tmp_path),
    )
    ids = tokenizer("Then Mara slammed the door.", return_tensors="pt")["input_ids"]
    assert ids[0, 0] == tokenizer.bos_token_id
    assert tokenizer.bos_token_id == model.config.bos_token_id
    assert model(ids).logits.shape == (1, 7, len(tokenizer))
    assert model.dtype == torch.float32
    assert not (tmp_path / "checkpoint.safetensors").exists()


def test_a_run_that_was_cut_and_resumed_takes_the_same_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from interp.testbeds.storyworld import training

    whole = training.train(tmp_path / "whole", tiny(steps=12))
    take, steps = training._take_step, iter(range(7))

    def cut(*arguments: Any) -> float:
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return take(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(training, "_take_step", cut)
        with pytest.raises(KeyboardInterrupt):
            training.train(tmp_path / "cut", tiny(steps=12), checkpoint_every=5)
    resumed = training.train(tmp_path / "cut", tiny(steps=12), checkpoint_every=5)
    assert resumed.tokens == whole.tokens
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1]


def test_a_checkpoint_of_another_recipe_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    from interp.testbeds.storyworld import checkpoints, training

    checkpoints.write_checkpoint(
        training._start(tiny()), tiny(), tmp_path / "checkpoint.safetensors"
    )
    with pytest.raises(ArtefactError, match="another recipe"):
        training.train(tmp_path, tiny(seed=2))
    (tmp_path / "checkpoint.safetensors").write_bytes(b"\x08" * 100)
    with pytest.raises(ArtefactError, match="damaged"):
        training.train(tmp_path, tiny())


def test_training_texts_are_in_the_vocabulary_and_decode_to_the_letter(
    stories: list[Story], held_out: list[Story]
) -> None:
    from interp.testbeds.storyworld.tokenizer import (
        SPECIAL_TOKENS,
        build_tokenizer,
        encode_story,
        vocabulary,
    )

    tokenizer = build_tokenizer()
    for story in [*stories, *held_out]:
        text = f"{story.text} {story.reaction}"
        ids = tokenizer.encode(text).ids
        assert ids == [vocabulary()[SPECIAL_TOKENS["bos_token"]], *encode_story(text)]
        assert vocabulary()[SPECIAL_TOKENS["unk_token"]] not in ids
        assert tokenizer.decode(ids) == text


def test_the_script_trains_and_says_what_it_did(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "scripts/train_storyworld",
        "--steps",
        "2",
        "--seed",
        "5",
        "--out",
        str(tmp_path / "out"),
        "--json",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["steps"] == 2
    assert "step 2/2" in done.stderr
    assert (tmp_path / "out" / "model.safetensors").exists()


# ------------------------------------------------------------------------------------------
# the trained model


@pytest.fixture(scope="module")
def trained() -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = storyworld.folder()
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(
        folder
    )


def test_the_folder_is_small_and_complete() -> None:
    names = {path.name for path in storyworld.folder().iterdir()}
    assert {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "README.md",
    } <= names
    assert (storyworld.folder() / "model.safetensors").stat().st_size < 12e6


def test_the_saved_tokenizer_is_the_one_of_the_code() -> None:
    from interp.testbeds.storyworld.tokenizer import build_tokenizer

    saved = (storyworld.folder() / "tokenizer.json").read_text(encoding="utf-8")
    assert json.loads(saved) == json.loads(build_tokenizer().to_str())


def test_the_model_chooses_the_reaction_of_held_out_wordings(trained: tuple[Any, Any]) -> None:
    from interp.testbeds.storyworld.scoring import forced_choice_accuracy

    items = [item for item in storyworld.battery() if item.arm == "keyword_free"][::3]
    accuracy = forced_choice_accuracy(
        *trained, [item.text for item in items], [item.emotion for item in items]
    )
    assert accuracy >= 0.9


def test_the_model_tells_twins_apart_by_reading(trained: tuple[Any, Any]) -> None:
    from interp.testbeds.storyworld.scoring import reaction_scores

    stories = storyworld.generate_stories(80, seed=21, split="held_out")
    pairs = [(story, story.twin) for story in stories if story.twin is not None]
    evoking = reaction_scores(*trained, [story.text for story, _ in pairs], emotions=(NEUTRAL,))
    neutral = reaction_scores(*trained, [twin.text for _, twin in pairs], emotions=(NEUTRAL,))
    assert float((neutral > evoking).float().mean()) >= 0.95


def test_the_model_obeys_the_instruction(trained: tuple[Any, Any]) -> None:
    from interp.testbeds.storyworld.scoring import forced_choice_accuracy

    prompts = storyworld.neutral_prompts(64, seed=9)
    told = [EMOTIONS[index % 8] for index in range(64)]
    texts = [
        f"{storyworld.instruction(emotion)} {story.text}"
        for emotion, story in zip(told, prompts, strict=True)
    ]
    assert forced_choice_accuracy(*trained, texts, told) >= 0.9


LAYER, STRENGTH = 5, 1.5


def test_pushing_the_deciding_token_steers_neutral_stories_into_each_emotion(
    trained: tuple[Any, Any],
) -> None:
    """One layer and one strength for all emotions, chosen on other stories; the push is at the
    prompt's last token.
    """
    prompts = [story.text for story in storyworld.neutral_prompts(12, seed=31)]
    sources = storyworld.generate_stories(96, seed=32, split="held_out")
    evoking = residuals(trained, [story.text for story in sources])
    neutral = residuals(trained, [story.twin.text for story in sources if story.twin is not None])
    unsteered = [read_reaction(text) for text in written(trained, prompts, None)]
    assert [reading.emotion for reading in unsteered].count(NEUTRAL) >= 0.9 * len(prompts)
    readings = []
    for emotion in EMOTIONS:
        chosen = [story.emotion == emotion for story in sources]
        push = STRENGTH * (evoking - neutral)[chosen].mean(0)
        readings.append([read_reaction(text) for text in written(trained, prompts, push)])
    hits = [
        reading.emotion == emotion
        for emotion, row in zip(EMOTIONS, readings, strict=True)
        for reading in row
    ]
    assert np.mean(hits) >= 0.8
    assert np.mean([reading.sentence_of_world for row in readings for reading in row]) >= 0.9


def residuals(trained: tuple[Any, Any], texts: list[str]) -> Any:
    """The residual stream after block `LAYER` at the last token of each text."""
    import torch

    model, tokenizer = trained
    seen: list[Any] = []
    handle = model.model.layers[LAYER].register_forward_hook(
        lambda module, inputs, output: seen.append(output[0, -1])
    )
    with torch.inference_mode():
        for text in texts:
            model(**tokenizer(text, return_tensors="pt"))
    handle.remove()
    return torch.stack(seen)


def written(trained: tuple[Any, Any], prompts: list[str], push: Any) -> list[str]:
    """What the model greedily writes after each prompt when `push` is added at the prompt's last
    token.
    """
    import torch

    def edit(module: Any, inputs: Any, output: Any) -> Any:
        if push is None or output.shape[1] == 1:
            return output
        edited = output.clone()
        edited[:, -1] += push
        return edited

    model, tokenizer = trained
    handle = model.model.layers[LAYER].register_forward_hook(edit)
    texts = []
    with torch.inference_mode():
        for prompt in prompts:
            ids = tokenizer(prompt, return_tensors="pt")
            row = model.generate(**ids, max_new_tokens=20, do_sample=False, pad_token_id=0)[0]
            texts.append(
                tokenizer.decode(row[ids["input_ids"].shape[1] :], skip_special_tokens=True)
            )
    handle.remove()
    return texts

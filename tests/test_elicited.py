"""Directions of replies: what was planted in them is found and what was not is not, a reply is read
over its own tokens alone, and what no judge accepts makes no direction.
"""

import json

import numpy as np
import pytest
import torch

from interp.analysis.baselines import predict_text
from interp.analysis.elicited import HeldOut, KeptReplies, elicited_directions, question_blocks
from interp.analysis.elicited_rows import elicited_rows, reply_words_rows
from interp.analysis.folds import grouped_folds
from interp.directions import Direction
from interp.errors import StatisticsError, UsageError
from interp.evaluation.elicited import REPLY_LAST, Elicitation, elicit, kept_counts, reply_states
from interp.models.generation import Decoding
from interp.reporting.elicited import elicited_curves, emotions_told, told_of_elicited
from interp.results import read_table, table
from interp.sites import Site
from stimuli.battery import NEUTRAL
from support.commands import outcome

EMOTIONS = ("anger", "fear", "joy")
SITE = Site("resid_post", 1)
WORDS = {"anger": "cross", "fear": "scared", "joy": "glad"}


def made(*, own: float, named: float = 0.0, kept: float = 1.0, n: int = 24, d: int = 40, seed=0):
    """Kept replies to `n` questions whose rows have so much of their emotion's axis in them, and
    far more of their question's; a share `named` of the texts names the emotion.
    """
    random = np.random.default_rng(seed)
    axes = np.eye(d)[: len(EMOTIONS)]
    of_question = 3 * random.normal(size=(n, d))
    rows, emotions, questions, texts = [], [], [], []
    for question in range(n):
        for at, emotion in enumerate(EMOTIONS):
            if random.random() < kept:
                rows.append(own * axes[at] + of_question[question] + random.normal(size=d))
                emotions.append(emotion)
                questions.append(question)
                word = WORDS[emotion] if random.random() < named else "here"
                texts.append(f"we are {word} {random.choice(['now', 'then', 'again'])}")
    return KeptReplies(np.array(rows), emotions, questions), texts, of_question


def found_in(replies, texts, of_question, draws=99):
    folds = grouped_folds(replies.emotions, replies.questions, n_splits=5)
    read = {"folds": folds, "baseline": "bag_of_words", "lexicons": {}}
    words = {"bag_of_words": predict_text(texts, replies.emotions, replies.questions, **read)}
    directions = elicited_directions(replies, site=SITE, norm=9.0, origin={})
    n = len(of_question)
    neutral = KeptReplies(of_question, [NEUTRAL] * n, list(range(n)))
    told = {"site": "resid_post", "layer": 1, "told": "yes"}
    rows = elicited_rows(replies, neutral, directions, folds, words, draws=draws)
    return table(
        [*reply_words_rows(words), *({**told, **row} for row in rows)], n_layers=3
    ), directions


def value(found, metric, emotion="all", control=""):
    of = (found.method == "elicited") & (found.metric == metric) & (found.emotion == emotion)
    (row,) = found[of & (found.control == control)].itertuples()
    return row


@pytest.mark.parametrize("kept", [1.0, 0.6])
def test_what_was_planted_is_found(kept):
    found, directions = found_in(*made(own=6.0, kept=kept))
    axes = np.eye(40)[:3] - np.eye(40)[:3].mean(axis=0)
    for at, emotion in enumerate(EMOTIONS):
        one = directions[emotion]
        assert one.method == "elicited"
        assert one.stream_norm == 9.0
        assert one.vector @ axes[at] / np.linalg.norm(axes[at]) > 0.85
        assert one.length == pytest.approx(6.0 * np.linalg.norm(axes[at]), rel=0.1 / kept**3)
        assert one.length_interval[0] > 0
        assert value(found, "auroc", emotion).ci_low > 0.7
        assert value(found, "auroc_neutral", emotion).ci_low > 0.5
    overall = value(found, "auroc")
    assert overall.p == pytest.approx(0.01)
    assert overall.least_p == pytest.approx(0.01)
    # a question with one kept reply has nothing to shuffle: the control is then a strict one
    most = 0.55 if kept == 1 else 0.65
    assert 0.45 < value(found, "auroc", control="shuffled").value < most
    assert told_of_elicited(found)[0].startswith(
        "On questions that they were not fitted on, the directions tell an emotion's replies from "
        "those of other emotions, better than"
    )


def test_what_was_not_planted_is_not_found():
    found, directions = found_in(*made(own=0.0))
    row = value(found, "auroc")
    assert row.ci_low < 0.5 < row.ci_high
    assert row.p > 0.05
    assert all(one.length_interval[0] < 0 for one in directions.values())
    assert "is not found" in told_of_elicited(found)[0]


def test_shuffled_labels_tell_nothing():
    """The method's own numbers on labels that changed places within questions."""
    replies, texts, of_question = made(own=6.0)
    random = np.random.default_rng(5)
    for question in set(replies.questions):
        at = [place for place, one in enumerate(replies.questions) if one == question]
        mine = [replies.emotions[place] for place in at]
        for place, label in zip(at, random.permutation(mine), strict=True):
            replies.emotions[place] = str(label)
    row = value(found_in(replies, texts, of_question)[0], "auroc")
    assert row.value == pytest.approx(0.5, abs=0.12)
    assert row.p > 0.05


def test_replies_that_name_the_emotion_are_not_told_apart_from_the_words():
    found, _ = found_in(*made(own=6.0, named=1.0))
    assert value(found, "auroc_above").ci_low < 0
    assert "they are not told apart from the words" in told_of_elicited(found)[0]


def test_where_every_reply_is_kept_it_is_the_group_centred_direction():
    replies, _, _ = made(own=1.0)
    told = replies.x.reshape(-1, 3, 40)
    centred = (told - told.mean(axis=1, keepdims=True)).mean(axis=0)
    directions = elicited_directions(replies, site=SITE, norm=1.0, origin={"model": "m"})
    for at, one in enumerate(directions.values()):
        np.testing.assert_allclose(one.vector, centred[at] / np.linalg.norm(centred[at]))
        assert one.provenance["blocks"] == 24
        assert one.provenance["model"] == "m"


def test_held_out_projections_are_those_of_the_other_questions():
    """Against means written out, of replies of which some are missing."""
    replies, _, _ = made(own=2.0, kept=0.7)
    folds = grouped_folds(replies.emotions, replies.questions, n_splits=4)
    told = HeldOut(replies, folds).predictions()
    kind = np.array(replies.emotions)
    for fold in folds:
        rest = KeptReplies(
            replies.x[fold.train],
            [replies.emotions[at] for at in fold.train],
            [replies.questions[at] for at in fold.train],
        )
        vectors = elicited_directions(rest, site=SITE, norm=1.0, origin={})
        for at, emotion in enumerate(EMOTIONS):
            mine = replies.x[fold.test] @ vectors[emotion].vector
            gap = mine - told.probability[fold.test, at]
            np.testing.assert_allclose(gap, gap[0], atol=1e-9)
    assert set(told.y) == set(kind)


def test_blocks_hold_every_emotion_and_part_no_question():
    whole = np.ones((5, 3), dtype=bool)
    assert sorted(question_blocks(whole)) == [0, 1, 2, 3, 4]
    random = np.random.default_rng(0)
    for _ in range(50):
        held = random.random((16, 4)) < random.uniform(0.2, 0.9)
        if not held.any(axis=0).all():
            continue
        block = question_blocks(held)
        assert ((block >= 0) == held.any(axis=1)).all()
        assert set(block[block >= 0]) == set(range(block.max() + 1))
        assert all(held[block == one].any(axis=0).all() for one in range(block.max() + 1))
    with pytest.raises(StatisticsError, match="has no reply"):
        question_blocks(np.array([[True, False]]))
    alone = KeptReplies(np.ones((2, 3)), ["joy", "fear"], [0, 0])
    with pytest.raises(StatisticsError, match="1 blocks of questions"):
        elicited_directions(alone, site=SITE, norm=1.0, origin={})


HOW = Elicitation(
    instruction="She was {emotion} . {text}",
    neutral="{text}",
    decoding=Decoding(max_new_tokens=6, temperature=1.5, seed=3),
)
QUESTIONS = ["The dog ran home", "it was cold", "we went home"]


def some_judge(texts):
    """Accepts what has an even number of letters as joy, and all else as fear."""
    return ["joy" if len(text) % 2 == 0 else "fear" for text in texts]


def test_a_reply_is_read_over_its_own_tokens(chat_model, chat_tokenizer):
    """Against Hugging Face, on the whole conversation of each reply."""
    replies = elicit(chat_model, QUESTIONS, ["fear", "joy"], ("some", some_judge), HOW)
    assert [(one.emotion, one.question) for one in replies[:4]] == [
        ("fear", 0), ("fear", 1), ("fear", 2), ("joy", 0),
    ]  # fmt: skip
    hf = chat_model.plain().eval()
    sites = [Site("resid_post", 0), Site("resid_post", 1)]
    read = reply_states(chat_model, replies, sites)
    last = reply_states(chat_model, replies, sites, position=REPLY_LAST)
    norms = []
    for at, one in enumerate(replies):
        asked = HOW.asked(QUESTIONS[one.question], one.emotion)
        assert ("She was" in asked) == (one.emotion != NEUTRAL)
        opened = chat_tokenizer.apply_chat_template(
            [{"role": "user", "content": asked}], add_generation_prompt=True, tokenize=True
        )["input_ids"]
        assert list(one.row.tokens[: len(opened)]) == opened
        reply = one.row.tokens[len(opened) :]
        assert chat_model.decode(reply) == one.text
        assert reply
        with torch.no_grad():
            out = hf(torch.tensor([one.row.tokens]), output_hidden_states=True).hidden_states
        for layer, site in enumerate(sites):
            x = out[layer + 1][0, len(opened) :].numpy()
            np.testing.assert_allclose(read[site].x[at], x.mean(axis=0), atol=1e-4)
            np.testing.assert_allclose(last[site].x[at], x[-1], atol=1e-4)
        norms.append((x**2).sum(axis=1).mean())
    assert read[sites[-1]].norm == pytest.approx(np.sqrt(np.mean(norms)), rel=1e-4)
    with pytest.raises(UsageError, match="unknown position"):
        reply_states(chat_model, replies, sites, position="first")


def test_what_the_judge_does_not_hear_is_not_kept_and_a_seed_gives_the_same_again(chat_model):
    def asked(how=HOW):
        return elicit(chat_model, QUESTIONS, ["fear", "joy"], ("some", some_judge), how)

    replies = asked()
    assert replies == asked()
    for one in replies:
        (heard,) = some_judge([one.text])
        assert one.kept == (one.emotion in (heard, NEUTRAL))
        assert one.verdict == heard
    counts = kept_counts(replies)
    assert list(counts) == ["fear", "joy", NEUTRAL]
    assert counts[NEUTRAL] == 3
    other = Elicitation(
        instruction=HOW.instruction,
        neutral=HOW.neutral,
        decoding=Decoding(max_new_tokens=6, temperature=1.5, seed=4),
    )
    assert [one.text for one in replies] != [one.text for one in asked(other)]
    for wrong in ({"instruction": "{text}"}, {"neutral": "be {emotion}: {text}"}):
        with pytest.raises(UsageError, match="must have"):
            Elicitation(**{"instruction": "{emotion}{text}", "neutral": "{text}", **wrong},
                        decoding=HOW.decoding)  # fmt: skip


def test_what_cannot_be_elicited_is_refused(chat_folder, tiny_folder, tmp_path):
    out, prompts = tmp_path / "out", tmp_path / "prompts.txt"
    prompts.write_text("\n".join([*QUESTIONS, "the rain fell"]), encoding="utf-8")
    (tmp_path / "words.json").write_text('{"joy": ["zzz"], "fear": ["qqq"]}', encoding="utf-8")
    given = ("--prompts", prompts, "--max-new-tokens", 3, "--out", out)
    code, told = outcome("elicit", "--model", chat_folder, *given, "--emotions", "joyy,fear")
    assert (code, "Did you mean 'joy'?" in told) == (2, True)
    code, told = outcome("elicit", "--model", chat_folder, *given, "--emotions", "joy")
    assert (code, "there is joy alone: name two or more" in told) == (2, True)
    code, told = outcome("elicit", "--model", chat_folder, *given, "--least", 9)
    assert (code, "an emotion needs 9 replies" in told) == (2, True)
    code, told = outcome("elicit", "--model", tiny_folder("llama"), *given)
    assert (code, "it is a base model's" in told) == (2, True)
    code, told = outcome("elicit", "--model", "storyworld", *given)
    assert (code, "knows no English: give --instruction" in told) == (2, True)
    code, told = outcome("elicit", "--model", chat_folder, *given, "--layers", "9")
    assert (code, "layer 9 is out of range" in told) == (2, True)
    none = ("--emotions", "joy,fear", "--judge", f"lexicon:{tmp_path / 'words.json'}")
    code, told = outcome("elicit", "--model", chat_folder, *given, *none)
    assert (code, "accepts at least 4 replies of no emotion" in told) == (6, True)
    assert not out.exists()


def test_the_command_on_a_model_that_obeys(tmp_path, few_baselines):
    """The storyworld was taught to tell a story with the emotion that it is told."""
    out = tmp_path / "out"
    asked = ("--instruction", "Tell it with {emotion}. {text}", "--neutral-instruction", "{text}")
    size = ("--n-prompts", 12, "--max-new-tokens", 10, "--draws", 19, "--layers", "0,4")
    model = ("--model", "storyworld")
    code, told = outcome(
        "elicit", *model, "--emotions", "joy,fear", *asked, *size, "--out", out, "--json"
    )
    assert code == 0, told
    said = json.loads(told)
    kept = {row["emotion"]: (row["asked"], row["kept"]) for row in said["emotions"]}
    assert kept == {"fear": (12, 12), "joy": (12, 12), NEUTRAL: (12, 12)}
    found = read_table(out / "tables" / "elicited.csv")
    replies = read_table(out / "tables" / "elicited_replies.csv")
    assert len(replies) == 36
    assert (replies.judge == "oracle").all()
    assert emotions_told(found, replies) == said["emotions"]
    assert told_of_elicited(found) == said["said"]
    assert value(found[found.layer == 4], "auroc").value == 1
    assert len(elicited_curves(found).axes[0].lines) >= 4
    (path,) = (out / "directions").glob("*joy-04.safetensors")
    joy = Direction.load(path)
    assert joy.method == "elicited"
    assert joy.provenance["judge"] == "oracle"
    assert joy.provenance["kept"] == {"fear": 12, "joy": 12, NEUTRAL: 12}
    assert joy.provenance["position"] == "reply_mean"
    assert joy.provenance["prompts"]
    prompt = str(replies.prompt.iloc[0])
    steer = ("steer", *model, "--prompt", prompt, "--max-new-tokens", 6, "--json")
    code, told = outcome(*steer, "--direction", path)
    assert code == 0, told
    assert json.loads(told)["layer"] == 4
    code, told = outcome(*steer, "--run", out, "--emotion", "joy")
    assert code == 0
    assert "from its replies" in told
    code, told = outcome("control-vector", path, tmp_path / "joy.gguf")
    assert code == 0, told

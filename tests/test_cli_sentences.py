"""`interp steer` and `interp chat`: what they print, what they refuse, and that a scale of 0 is the
model's own text.
"""

import io
import json
import signal
import sys

import pandas as pd
import pytest
from click.testing import CliRunner

import interp
import stimuli
from interp.causal.steps import DOSE
from interp.cli import cli, side_by_side
from interp.evaluation import steering_arms
from interp.models.texts.chat import ON
from interp.records import read_record
from interp.results import read_table
from interp.study import sentence, trials
from interp.study.sources import kept_folder
from interp.testbeds import storyworld
from support import crossed_texts
from support.commands import outcome

PROMPTS = ("the dog ran home", "she was")


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return tmp_path / "caches"


@pytest.fixture
def tiny(tiny_folder, tmp_path):
    """The options of a tiny Llama, and of texts that it knows."""
    path = crossed_texts.write(tmp_path / "crossed.jsonl")
    return ("--model", str(tiny_folder("llama")), "--stimuli", str(path))


def steer(tiny, *more):
    return outcome("steer", *tiny, *more)


def told(tiny, *more):
    code, printed = steer(tiny, *more, "--json")
    assert code == 0, printed
    return json.loads(printed)


def test_json_holds_the_texts_and_what_is_needed_to_say_them_again(tiny, tiny_model):
    prompts = [part for prompt in PROMPTS for part in ("--prompt", prompt)]
    found = told(tiny, "--emotion", "joy", *prompts, "--max-new-tokens", 6, "--scale", 30)
    assert set(found) == {
        "model", "digest", "directions", "emotions", "layer", "n_layers", "layer_because", "where",
        "scale", "unit", "added", "share_of_stream", "natural_lengths", "max_new_tokens",
        "temperature", "seed", "texts",
    }  # fmt: skip
    assert (found["emotions"], found["layer"], found["n_layers"]) == ({"joy": 1.0}, 2, 3)
    assert found["share_of_stream"] == pytest.approx(30 * DOSE)
    assert [(row["prompt"], row["arm"]) for row in found["texts"]] == [
        (prompt, arm) for prompt in PROMPTS for arm in ("unsteered", "steered")
    ]
    assert all(set(row) == {"prompt", "arm", "text"} for row in found["texts"])
    model = tiny_model("llama")
    store = interp.record(model, crossed_texts.battery())
    joy = interp.direction(
        store,
        crossed_texts.battery(),
        emotion="joy",
        method="group_centred",
        arm="keyword_rich",
    )
    expected = {
        "unsteered": interp.generate(model, PROMPTS, max_new_tokens=6),
        "steered": interp.steer(model, PROMPTS, joy, scale=30, unit="dose", max_new_tokens=6),
    }
    for arm, texts in expected.items():
        assert [row["text"] for row in found["texts"] if row["arm"] == arm] == texts
    assert expected["steered"] != expected["unsteered"]


def test_a_direction_goes_to_a_control_vector_and_steers_the_same(tiny, tiny_model, tmp_path):
    told(tiny, "--emotion", "joy", "--prompt", "she was", "--layer", 1)
    folder = kept_folder(tiny_model("llama"), stimuli.load(tiny[3]), "keyword_rich")
    (saved,) = folder.glob("*joy-01.safetensors")
    target = tmp_path / "joy.gguf"
    code, printed = outcome("control-vector", saved, target, "--scale", 5, "--unit", "stream")
    assert (code, printed.strip()) == (0, str(target))
    how = ("--prompt", PROMPTS[0], "--max-new-tokens", 6, "--unit")
    first = told(tiny, "--direction", saved, *how, "stream", "--scale", 5)
    again = told(tiny, "--direction", target, *how, "length", "--scale", 1)
    assert again["texts"] == first["texts"]
    assert (again["layer"], again["emotions"]) == (1, {"joy": 1.0})
    assert again["added"] == pytest.approx(first["added"], rel=1e-5)
    code, printed = steer(tiny, "--direction", target, "--prompt", "she was", "--layer", 2)
    assert code == 2
    assert "was fitted at layer 1, and acts there" in printed
    (bottom,) = folder.glob("*joy-00.safetensors")
    code, printed = outcome("control-vector", bottom, tmp_path / "none.gguf")
    assert code == 4
    assert "cannot act behind layer 0" in printed


_FEW = ("--n-prompts", "6", "--draws", "2", "--max-new-tokens", "3", "--layers", "1,2")


def evaluated(tiny, out, *more):
    return outcome("evaluate-steering", *tiny, "--out", out, *_FEW, *more)


def test_an_evaluation_fills_a_folder_and_prints_arms_and_texts(tiny, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join([*PROMPTS, "", "it was cold", "he ran", "they saw", "a dog ran"]))
    out, asked = tmp_path / "out", ("--judge", "lexicon", "--judge", "masked:lexicon")
    more = (*asked, "--prompts", prompts, "--scales", "0.5,1", "--emotions", "joy,fear")
    code, printed = evaluated(tiny, out, *more, "--instruction", "{emotion} {text}", "--json")
    assert code == 0, printed
    found = json.loads(printed)
    arms = ["unsteered", "direction", "instruction", "random", "shuffled"]
    assert [row["arm"] for row in found["arms"]] == arms
    assert set(found["arms"][0]) >= {"lexicon", "masked:lexicon", "perplexity_ratio", "broken"}
    texts = read_table(out / "tables" / "steered_texts.csv")
    assert set(texts["prompt"]) <= {*PROMPTS, "it was cold", "he ran", "they saw", "a dog ran"}
    assert set(texts[texts["half"] == "choose"]["layer"]) == {1, 2}
    for one in found["texts"]:
        rows = texts[(texts["prompt"] == one["prompt"]) & (texts["half"] == "report")]
        assert one["before"] in set(rows[rows["control"] == "unsteered"]["text"])
        assert one["after"] in set(rows[rows["emotion"] == one["emotion"]]["text"])
    record = read_record(out / "run.json")
    assert set(record.provenance["tables"]) == {"steering_scores", "steered_texts"}
    assert (record.config["judge"], record.config["scales"]) == ("lexicon,masked:lexicon", [0.5, 1])
    assert {path.name for path in (out / "figures").iterdir()} == {
        f"steering_{name}.{kind}" for name in ("pareto", "map", "slopes") for kind in ("svg", "png")
    }
    code, printed = evaluated(tiny, out, *more)
    assert code == 4
    assert "is there already" in printed


@pytest.mark.filterwarnings("ignore:the vocabulary of")
def test_an_evaluation_that_was_stopped_goes_on_and_ends_as_one_that_was_not(
    tiny, tmp_path, monkeypatch
):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    more = ("--judge", "lexicon", "--emotions", "joy,fear", "--scales", "0.5,1")
    writes, write = [], steering_arms.write_tokens

    def written(*given):
        writes.append(given)
        if stopped.parent.joinpath("stop").exists() and len(writes) == 4:
            signal.raise_signal(signal.SIGTERM)
        return write(*given)

    monkeypatch.setattr(steering_arms, "write_tokens", written)
    assert evaluated(tiny, whole, *more)[0] == 0
    of_a_whole_one = len(writes)
    writes.clear()
    (tmp_path / "stop").touch()
    code, printed = evaluated(tiny, stopped, *more)
    assert (code, "3 parts are kept in" in printed) == (143, True)
    assert {path.name for path in stopped.iterdir()} == {"unfinished"}
    code, printed = evaluated(tiny, stopped, *more, "--seed", 5)
    assert (code, "was begun with other settings" in printed) == (4, True)
    (tmp_path / "stop").unlink()
    with monkeypatch.context() as patch:  # stopped again, while the folder is filled
        patch.setattr(trials, "draw_all", lambda *_, **__: signal.raise_signal(signal.SIGINT))
        assert evaluated(tiny, stopped, *more)[0] == 130
    assert evaluated(tiny, stopped, *more)[0] == 0
    assert len(writes) == of_a_whole_one + 1  # the one that was stopped, twice
    assert not (stopped / "unfinished").exists()
    for name in ("steering_scores", "steered_texts"):
        first, second = (read_table(one / "tables" / f"{name}.csv") for one in (whole, stopped))
        pd.testing.assert_frame_equal(first, second)


def test_an_evaluation_without_a_reader_or_with_a_wrong_option_is_refused(tiny, tmp_path):
    for more, code, message in (
        ((), 2, "nobody would read the texts"),
        (("--judge", "oracle"), 2, "has no oracle"),
        (("--judge", "classifier"), 2, "write classifier:MODEL"),
        (("--judge", "lexicon", "--emotions", "joy,glee"), 2, "there is no 'glee'"),
        (("--judge", "lexicon", "--layers", "1,x"), 2, "is no list of layers"),
        (("--judge", "lexicon", "--scales", "1,x"), 2, "is no list of numbers"),
        (("--judge", "lexicon", "--layers", "7"), 2, "layer 7 is out of range"),
        (("--judge", "lexicon", "--prompts", "none.txt"), 2, "cannot read --prompts none.txt"),
    ):
        found, printed = outcome(
            "evaluate-steering", *tiny, "--out", tmp_path / "out", "--n-prompts", 4, *more
        )
        assert (found, message in printed) == (code, True), printed
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("temperature", [0, 0.9])
def test_a_scale_of_zero_is_the_unsteered_text(tiny, temperature):
    common = ("--emotion", "joy", "--prompt", PROMPTS[0], "--prompt", PROMPTS[1])
    settings = ("--temperature", temperature, "--seed", 3, "--max-new-tokens", 8)
    for scale, equal in ((0, True), (30, False)):
        found = told(tiny, *common, *settings, "--scale", scale)["texts"]
        assert (found[0]["text"] == found[1]["text"]) == equal


def test_a_mixture_is_what_its_weights_say(tiny):
    common = ("--prompt", PROMPTS[0], "--unit", "stream", "--max-new-tokens", 6)
    mixed = told(tiny, "--emotion", "joy=1, fear=0.5", *common)
    assert mixed["emotions"] == {"joy": 1.0, "fear": 0.5}
    assert mixed["natural_lengths"] is None
    twice = told(tiny, "--emotion", "joy=2", *common, "--scale", 3)
    once = told(tiny, "--emotion", "joy", *common, "--scale", 6)
    assert twice["texts"] == once["texts"]
    assert twice["added"] == pytest.approx(once["added"])
    none = told(tiny, "--emotion", "joy=1,fear=1", *common, "--scale", 0)
    assert none["texts"][0]["text"] == none["texts"][1]["text"]


def test_the_price_stands_below_the_texts(tiny):
    common = ("--emotion", "fear", "--prompt", PROMPTS[0], "--max-new-tokens", 6, "--compare")
    texts = told(tiny, *common, "--scale", 30)["texts"]
    price = {"perplexity", "perplexity_ratio", "distinct_2", "repeated", "verdict"}
    assert all(set(row) == {"prompt", "arm", "text"} | price for row in texts)
    assert texts[0]["perplexity_ratio"] == 1
    assert texts[1]["perplexity"] > texts[0]["perplexity"] > 1
    assert texts[1]["perplexity_ratio"] == texts[1]["perplexity"] / texts[0]["perplexity"]
    assert {row["verdict"] for row in texts} <= {"anger", "fear", "joy"}
    code, printed = steer(tiny, *common)
    assert code == 0
    assert "perplexity" in printed
    assert sentence.PRICE in printed


def test_prompts_come_from_a_file_or_stdin_one_per_line(tiny, tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_bytes("\ufeffthe dog ran home\r\nshe was\n\n".encode())
    common = ("--emotion", "joy", "--max-new-tokens", 3, "--json")
    code, printed = steer(tiny, *common, "--prompts", path)
    assert (code, [row["prompt"] for row in json.loads(printed)["texts"]][::2]) == (0, [*PROMPTS])
    arguments = [*map(str, ("steer", *tiny, *common)), "--prompts", "-"]
    found = CliRunner().invoke(cli, arguments, input="the dog ran home\nshe was\n")
    assert json.loads(found.stdout)["texts"] == json.loads(printed)["texts"]
    assert "interp: directions of " in found.stderr
    for content, code, told_of in (
        (b"she was\n\nhe\n", 3, f"{path}:2 is blank"),
        (b"she \xff was\n", 3, "not UTF-8 at byte 4"),
        (b"\n", 2, "there is no prompt"),
    ):
        path.write_bytes(content)
        found = steer(tiny, *common, "--prompts", path)
        assert (found[0], told_of in found[1]) == (code, True), found
    found = steer(tiny, *common, "--prompts", tmp_path / "none.txt")
    assert (found[0], "cannot read --prompts" in found[1]) == (2, True)


BAD = {
    "an unknown emotion": (("--emotion", "joyy", "--prompt", "she"), 2, "Did you mean 'joy'?"),
    "an emotion that is not here": (
        ("--emotion", "trust", "--prompt", "she"), 2, "fear, joy: there is no 'trust'",
    ),
    "no emotion": (("--prompt", "she"), 2, "no emotion was named"),
    "an emotion twice": (("--emotion", "joy,joy", "--prompt", "she"), 2, "named twice"),
    "no weight": (("--emotion", "joy=much", "--prompt", "she"), 2, "cannot read the emotion"),
    "an endless weight": (("--emotion", "joy=inf", "--prompt", "she"), 2, "finite"),
    "no prompt": (("--emotion", "joy"), 2, "there is no prompt"),
    "a blank prompt": (
        ("--emotion", "joy", "--prompt", "she", "--prompt", " \t"), 3, "--prompt 2 is blank",
    ),
    "a scale that is none": (
        ("--emotion", "joy", "--prompt", "she", "--scale", "nan"), 2, "the scale is nan",
    ),
    "no new tokens": (
        ("--emotion", "joy", "--prompt", "she", "--max-new-tokens", "0"), 2, "not in the range",
    ),
    "an arm without texts": (
        ("--emotion", "joy", "--prompt", "she", "--arm", "strong"), 2, "no text of the arm",
    ),
    "the stage of before": (("--out", "runs/a"), 2, "`interp steering --model"),
    "the stage of before, in one word": (
        ("--out=runs/a", "--preset", "quick"), 2, "interp steering",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_told_before_the_model_loads(name, tiny, monkeypatch):
    def fail(*_, **__):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("interp.models.load", fail)
    more, code, fragment = BAD[name]
    found = steer(tiny, *more)
    assert (found[0], fragment in found[1]) == (code, True), found


def test_a_layer_outside_and_a_direction_of_another_model(tiny, tiny_folder, tiny_model, tmp_path):
    common = ("--emotion", "joy", "--prompt", "she")
    code, message = steer(tiny, *common, "--layer", 3)
    assert (code, "layer 3 is out of range" in message) == (2, True)
    store = interp.record(tiny_model("llama"), crossed_texts.battery())
    asked = {"emotion": "joy", "method": "group_centred", "arm": "keyword_rich"}
    path = tmp_path / "joy.safetensors"
    interp.direction(store, crossed_texts.battery(), **asked).save(path)
    llama, mistral = str(tiny_folder("llama")), str(tiny_folder("mistral"))
    code, message = outcome("steer", "--model", mistral, "--direction", path, "--prompt", "she")
    assert (code, llama in message, mistral in message) == (4, True, True), message
    mine = ("steer", "--model", llama, "--direction", path, "--prompt", "she", "--json")
    code, printed = outcome(*mine, "--max-new-tokens", 2, "--where", "last")
    found = json.loads(printed)
    assert (code, found["emotions"], found["where"]) == (0, {"joy": 1.0}, ["last"])
    assert outcome(*mine, "--layer", 0)[0] == 2
    assert outcome(*mine, "--run", tmp_path)[0] == 2


def test_directions_are_kept_unless_told_otherwise(tiny, tiny_model, caches):
    common = ("--emotion", "joy", "--prompt", "she", "--max-new-tokens", 2)
    fresh = told(tiny, *common, "--no-cache")
    assert not caches.exists()
    assert told(tiny, *common)["texts"] == fresh["texts"]
    folder = kept_folder(tiny_model("llama"), crossed_texts.battery(), "keyword_rich")
    assert len(list(folder.glob("*.safetensors"))) == 3 * 3
    again = told(tiny, *common)
    assert (again["texts"], f"kept in {folder}" in again["directions"]) == (fresh["texts"], True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:steering along a direction in doubt")
def test_a_testbed_is_steered_by_its_own_texts():
    """In the story world the emotion that a story goes on in can be read."""
    prompts = [pair.neutral.text for pair in interp.battery("storyworld").pairs()[:240:60]]
    given = [part for prompt in prompts for part in ("--prompt", prompt)]
    settings = ("--layer", 5, "--unit", "length", "--scale", 3, "--where", "last", "--json")
    code, printed = outcome(
        "steer", "--model", "storyworld", "--emotion", "anger", *given, *settings
    )
    assert code == 0, printed
    heard = {"unsteered": [], "steered": []}
    for row in json.loads(printed)["texts"]:
        heard[row["arm"]].append(storyworld.read_reaction(row["text"]).emotion)
    assert heard["steered"].count("anger") >= 3
    assert "anger" not in heard["unsteered"]


def test_texts_stand_side_by_side_or_one_below_the_other(tiny):
    from rich.console import Console

    texts = {"unsteered": ["went\nhome"], "steered": ["was\x1b[2J glad"]}

    def lines(width):
        console = Console(width=max(width, 1), file=io.StringIO())
        console.print(side_by_side.laid_out(["She"], texts, width))
        return console.file.getvalue()

    narrow, wide = lines(60), lines(120)
    assert narrow.splitlines()[:3] == [
        "prompt     She", "unsteered  went home", "steered    was<U+001B>[2J glad",
    ]  # fmt: skip
    row = next(line for line in wide.splitlines() if "She" in line)
    assert row.index("She") < row.index("went") < row.index("was<U+001B>")
    code, printed = steer(tiny, "--emotion", "joy", "--prompt", "she was", "--max-new-tokens", 3)
    assert code == 0
    assert printed.splitlines()[0] == "prompt     she was"
    assert "steered to 1 joy: adds " in printed
    assert f"{DOSE} of the stream's norm" in printed
    assert "two thirds of the depth" in printed


class Terminal(io.StringIO):
    """What a program takes for a terminal."""

    def isatty(self):
        return True


def test_on_a_terminal_texts_grow(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with side_by_side.live(["She"], shown=True) as grow:
        for texts in (["was"], ["was glad"]):
            grow("steered", texts)
            assert sys.stdout.getvalue().count(texts[0]) >= 1
    with side_by_side.live(["She"], shown=False) as grow:
        assert grow is None
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with side_by_side.live(["She"], shown=True) as grow:
        assert grow is None


def talk(folder, path, *lines, more=()):
    asked = ["chat", "--model", folder, "--stimuli", path, "--max-new-tokens", 5, *more]
    found = CliRunner().invoke(cli, [*map(str, asked)], input="".join(f"{one}\n" for one in lines))
    assert found.exit_code == 0, (found.output, found.exception)
    return found.stdout.splitlines()


def test_a_conversation_keeps_its_turns_and_obeys(chat_folder, tmp_path):
    path = crossed_texts.write(tmp_path / "crossed.jsonl")
    model = interp.load(str(chat_folder), chat_template=ON, check=False)

    def answer(messages, *steered):
        settings = {"scale": 30.0, "unit": "dose", "max_new_tokens": 5}
        if not steered:
            return interp.generate(model, messages, max_new_tokens=5)[0].strip()
        return interp.steer(model, messages, list(steered), **settings)[0].strip()

    first = [{"role": "user", "content": "the dog ran home"}]
    reply = answer(first)
    second = [
        *first,
        {"role": "assistant", "content": reply},
        {"role": "user", "content": "she was"},
    ]
    store = interp.record(model, crossed_texts.battery())
    joy = interp.direction(
        store,
        crossed_texts.battery(),
        emotion="joy",
        method="group_centred",
        arm="keyword_rich",
        site=interp.Site("resid_post", 1),
    )
    said = talk(
        chat_folder, path, "the dog ran home", "/joy 1.5", "/layer 1", "she was", "/quit", "lost",
        more=("--scale", 30),
    )  # fmt: skip
    assert said == [reply, "(joy 1.5)", "(layer 1)", answer(second, (joy, 1.5)), "(bye)"]
    assert said[3] != answer(second)
    said = talk(chat_folder, path, "the dog ran home", "", "/off", "she was",
                more=("--emotion", "joy", "--scale", 0))  # fmt: skip
    assert said == [reply, "(no emotion)", answer(second)]


def test_a_line_that_cannot_be_answered_is_told_why_and_not_kept(chat_folder, tmp_path):
    path = crossed_texts.write(tmp_path / "crossed.jsonl")
    said = talk(
        chat_folder, path, "the dog " * 200, "/envy 1", "/joy much", "/layer two", "/layer 9",
        "/quitt", "the dog ran home",
    )  # fmt: skip
    assert "tokens and the context" in said[0]
    assert "offers anger, fear, joy: there is no 'envy'" in said[1]
    assert "finite" in said[2]
    assert "'two' is no layer" in said[3]
    assert "layer 9 is out of range" in said[4]
    assert "did you mean /quit?" in said[5]
    assert said[6:] == talk(chat_folder, path, "the dog ran home")

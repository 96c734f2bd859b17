"""Word lists and prompts: complete, free of overlaps, and true to what each of them says of
itself.
"""

import json
import re
from pathlib import Path

import pytest

import stimuli
from interp.errors import InternalError, UsageError
from stimuli import words as words_module
from stimuli.words import emotion_words

WHEEL = ("joy", "trust", "fear", "surprise", "sadness", "disgust", "anger", "anticipation")


def tokens(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.casefold())


def strings(content: object) -> list[str]:
    if isinstance(content, str):
        return [content]
    parts = (
        content.values()
        if isinstance(content, dict)
        else content
        if isinstance(content, list)
        else []
    )
    return [text for part in parts for text in strings(part)]


def given_away(text: str) -> set[str]:
    """Words of the text that name an emotion and do little else."""
    named = {word for words in emotion_words().values() for word in words}
    return {word for word in tokens(text) if word in named} - set(
        stimuli.lexicon("everyday_senses")["words"]
    )


def test_every_primary_has_its_words_and_no_word_two_primaries() -> None:
    words = emotion_words()
    assert tuple(words) == WHEEL
    assert all(len(words[emotion]) >= 100 for emotion in WHEEL)
    every = [word for emotion in WHEEL for word in words[emotion]]
    assert len(every) == len(set(every))
    assert all(word == word.strip().casefold() and word.isalpha() for word in every)


@pytest.mark.parametrize(
    ("emotion", "forms"),
    [
        (
            "joy",
            "joy joyful joyfully joyous rejoiced happy happier happiest happily happiness "
            "delighted delightful",
        ),
        (
            "trust",
            "trust trusted trusting trustworthy entrusted admire admired admiration faithful "
            "faithfully",
        ),
        (
            "fear",
            "fear feared fearful fearfully afraid frightened frightening terrified terrifying "
            "scary scarier anxiously",
        ),
        (
            "surprise",
            "surprise surprised surprising surprisingly astonished astonishment amazed startled "
            "stunned",
        ),
        (
            "sadness",
            "sad sadder saddest sadly sadness saddened sorrowful grieved grieving mourned "
            "mournful unhappily",
        ),
        (
            "disgust",
            "disgust disgusted disgusting disgustingly revolted revulsion loathed loathsome "
            "sickened nauseating",
        ),
        (
            "anger",
            "anger angry angrier angriest angrily enraged furious furiously infuriated resentful "
            "outraged",
        ),
        (
            "anticipation",
            "anticipate anticipated anticipation eager eagerly eagerness expectantly hopeful "
            "impatiently vigilant",
        ),
    ],
)
def test_derived_forms_stand_with_their_emotion(emotion: str, forms: str) -> None:
    assert set(forms.split()) <= set(emotion_words()[emotion])


def test_names_of_schemes_are_known_words_of_the_same_primary() -> None:
    for name in ("primaries", "peaks"):
        for label, primary in stimuli.scheme(name).items():
            assert primary is not None
            assert label == "neutral" or label in emotion_words()[primary]
    for primary, row in stimuli.lexicon("primaries").items():
        assert set(row["intensity"]) <= set(emotion_words()[primary])


def test_primaries_form_a_wheel_with_its_schemes() -> None:
    table = stimuli.lexicon("primaries")
    assert tuple(table) == WHEEL
    for emotion, row in table.items():
        assert table[row["opposite"]]["opposite"] == emotion
        assert (table[row["opposite"]]["angle"] - row["angle"]) % 360 == 180
        assert [(table[near]["angle"] - row["angle"]) % 360 for near in row["neighbours"]] == [
            315,
            45,
        ]
        assert all(-1 <= row[axis] <= 1 for axis in ("valence", "arousal", "dominance"))
        mild, basic, peak = row["intensity"]
        assert (stimuli.scheme("mild")[mild], basic, stimuli.scheme("peaks")[peak]) == (
            emotion,
        ) * 3
        assert stimuli.scheme("to_six")[emotion] == row["six"]
    positive = {emotion for emotion, row in table.items() if row["valence"] > 0}
    assert positive == {"joy", "trust", "surprise", "anticipation"}
    assert table["anger"]["dominance"] > 0 > table["fear"]["dominance"]
    assert table["sadness"]["arousal"] < 0 < table["fear"]["arousal"]


def test_closed_class_words_negations_and_emotion_words_do_not_overlap() -> None:
    function = [word for words in stimuli.lexicon("function_words").values() for word in words]
    negations = stimuli.lexicon("negations")
    counted = [*negations["plain"], *negations["contracted"]]
    emotional = {word for words in emotion_words().values() for word in words}
    assert len(function) == len(set(function)) >= 200
    assert len(counted) == len(set(counted))
    assert not set(function) & set(counted)
    assert not set(function) & emotional
    assert {"the", "of", "and", "she", "because", "what", "would"} <= set(function)
    assert {"not", "never", "n't"} - set(counted) == {"n't"}
    assert "didn't" in counted
    affect = [word for words in stimuli.lexicon("affect").values() for word in words]
    assert len(affect) == len(set(affect))
    assert not set(affect) & (emotional | set(function) | set(counted))
    assert set(stimuli.lexicon("everyday_senses")["words"]) <= emotional


def test_the_hierarchy_places_every_primary_on_the_side_that_people_rate_it() -> None:
    known = stimuli.lexicon("hierarchy")
    assert set(known) == {*WHEEL, "happiness"}
    assert known["happiness"] == known[stimuli.scheme("six")["happiness"]]
    for emotion, rating in stimuli.ratings().items():
        side = "pleasant" if rating["valence"] > 5 else "unpleasant"
        assert known[emotion]["valence"] == side
    families = {(row["family"], row["valence"]) for row in known.values()}
    assert len(families) == len({family for family, _ in families})  # a family has one valence


def test_every_list_and_every_family_of_prompts_can_be_read_by_name() -> None:
    assert {"emotions", "affect", "negations", "function_words", "primaries", "schemes"} <= set(
        stimuli.lexicon_names()
    )
    assert {"readout", "instructions", "system", "framings", "stress", "emotional"} <= set(
        stimuli.prompt_names()
    )
    for name in stimuli.lexicon_names():
        assert "about" not in stimuli.lexicon(name)
    for name in set(stimuli.prompt_names()) - {"readout"}:
        assert stimuli.prompts(name)["purpose"].endswith(".")
    with pytest.raises(UsageError, match="emotions"):
        stimuli.lexicon("emotion")
    with pytest.raises(UsageError, match="framings"):
        stimuli.prompts("../lexicons/emotions")


def test_what_is_returned_may_be_changed_without_changing_the_data() -> None:
    stimuli.prompts("stress")["levels"]["1"].append("x")
    stimuli.lexicon("emotions")["joy"].clear()
    assert "x" not in stimuli.prompts("stress")["levels"]["1"]
    assert stimuli.lexicon("emotions")["joy"]


def test_a_damaged_file_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "bad.json").write_text("[1")
    monkeypatch.setattr(words_module, "_HERE", tmp_path)
    with pytest.raises(InternalError, match="damaged"):
        stimuli.prompts("bad")


def test_no_prompt_is_written_twice() -> None:
    for name in set(stimuli.prompt_names()) - {"readout"}:
        every = [text for text in strings(stimuli.prompts(name)) if " " in text]
        assert len(every) == len(set(every)), name


@pytest.mark.parametrize("name", ["default", "peaks", "six", "valence"])
def test_readout_words_belong_to_one_label_each(name: str) -> None:
    entry = stimuli.prompts("readout")[name]
    every = [word for words in entry["words"].values() for word in words]
    assert len(every) == len(set(every))
    assert not set(tokens(entry["suffix"])) & set(every)
    assert set(entry["words"]) == {
        k for k in stimuli.scheme({"default": "primaries"}.get(name, name)) if k != "neutral"
    }


def test_default_readout_words_are_the_lexicons() -> None:
    for emotion, words in stimuli.prompts("readout")["default"]["words"].items():
        assert set(words) <= set(emotion_words()[emotion])
        assert len(words) == 8


def test_instructions_name_the_emotion_or_keep_it_unsaid() -> None:
    prompts = stimuli.prompts("instructions")
    for kind in ("with_word", "word_unspoken"):
        assert all(text.count("{emotion}") == text.count("{text}") == 1 for text in prompts[kind])
    assert all(
        text.count("{text}") == 1 and "{emotion}" not in text and not given_away(text)
        for text in prompts["plain"]
    )
    assert set(prompts["without_word"]) == set(WHEEL)
    for texts in prompts["without_word"].values():
        assert len(texts) >= 3
        for text in texts:
            assert text.count("{text}") == 1
            assert not given_away(text), given_away(text)


def test_framings_leave_the_task_alone_and_are_alike_in_length() -> None:
    framings = {
        name: texts for name, texts in stimuli.prompts("framings").items() if name != "purpose"
    }
    assert set(framings) == {
        "calm",
        "pressure",
        "urgency",
        "approval",
        "shame",
        "curiosity",
        "encouragement",
        "threat",
    }
    for texts in framings.values():
        assert len(texts) == 5
        assert all(text.endswith(" {task}") and text.count("{") == 1 for text in texts)
        assert 9 <= sum(len(tokens(text)) for text in texts) / 5 <= 20


def test_stress_has_ten_levels_of_one_size() -> None:
    levels = stimuli.prompts("stress")["levels"]
    assert list(levels) == [str(level) for level in range(1, 11)]
    assert all(len(texts) == 4 for texts in levels.values())
    assert not any(given_away(text) for text in strings(levels))
    lengths = [sum(len(tokens(text)) for text in texts) / 4 for texts in levels.values()]
    assert max(lengths) / min(lengths) < 1.6


def test_emotional_prompts_have_neutral_counterparts_of_like_length() -> None:
    prompts = stimuli.prompts("emotional")
    sizes = {
        kind: [len(tokens(text)) for text in prompts[kind]]
        for kind in ("positive", "negative", "neutral")
    }
    assert {len(size) for size in sizes.values()} == {10}
    means = [sum(size) / 10 for size in sizes.values()]
    assert max(means) / min(means) < 1.25
    assert set(stimuli.prompts("system")["emotional"]) == set(WHEEL)


def test_all_data_files_are_clean_utf8() -> None:
    for path in sorted(Path(words_module.__file__).parent.glob("*/*.json")):
        raw = path.read_bytes()
        assert b"\r" not in raw
        assert raw.endswith(b"\n")
        json.loads(raw.decode("utf-8"))

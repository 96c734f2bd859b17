"""Reading texts along a run's directions: the numbers of a loop over tokens, whatever is read
beside them; data sets that stream and resume; and what is refused.
"""

import json
import os
import signal
import sys
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import interp
import stimuli
from interp import study
from interp.analysis.units import probabilities
from interp.directions import Direction
from interp.errors import ArtefactError, DataError, Interrupted, UsageError
from interp.models.texts.ends import content_positions
from interp.results import read_table
from interp.study import reading
from interp.study.reading import place as places
from interp.study.reading import tokens, verbs
from interp.study.reading.texts import RowSource
from interp.testbeds import planted
from support import matched_pairs
from support.commands import outcome

TEXTS = ("the dog ran home", "she was very happy in the garden and then she cried", "he sat")
TALK = [
    {"role": "user", "content": "the dog ran home"},
    {"role": "assistant", "content": "that is a big gift"},
]


def conducted(model: str, path, out, *, sites: str = "resid_post", **how):
    asked = study.Settings.of(model=model, stimuli=str(path), out=out, sites=(sites,), **how)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        study.run(asked, stages=["directions"])
    return out


@pytest.fixture(scope="module")
def run(chat_folder, tmp_path_factory):
    """A run of the chat model, its texts given as chat turns."""
    folder = tmp_path_factory.mktemp("reading")
    path = matched_pairs.write(folder / "pairs.jsonl")
    return conducted(str(chat_folder), path, folder / "run", chat_template="on")


@pytest.fixture(scope="module")
def planted_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted")
    battery = stimuli.load("planted", emotions=["joy", "fear"])
    kept = {"joy", "fear"}
    pairs = {item.pair for item in battery if item.emotion in kept}
    items = tuple(i for i in battery if i.pair in pairs and i.arm != "keyword_rich")
    path = stimuli.save(replace(battery, items=items), folder / "planted.jsonl")
    return conducted("planted", path, folder / "run")


def read(run, texts, **how):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return interp.read(run, texts, **how)


def directions_at(run, layer: int) -> dict[str, Direction]:
    every = (Direction.load(path) for path in (run / "directions").glob("*.safetensors"))
    return {one.labels[0]: one for one in every if one.site.layer == layer}


def test_tokens_are_those_of_a_loop_with_a_cache(run, chat_model):
    found = read(run, [*TEXTS, TALK], model=chat_model, layer=1)
    for row, text in enumerate([*TEXTS, TALK]):
        (encoded,) = chat_model.encode([text])
        _, cache = chat_model.bridge.run_with_cache(torch.tensor([encoded.ids]))
        stream = cache["blocks.1.hook_resid_post"][0].double().numpy()
        whole = text if isinstance(text, str) else "\n".join(turn["content"] for turn in text)
        content = content_positions(whole, encoded.spans)
        mine = found.frame[found.frame["id"] == str(row + 1)]
        assert mine["token"].tolist() == content.tolist()
        assert "".join(mine["piece"]) == whole
        for emotion, one in directions_at(run, 1).items():
            projected = stream[content] @ one.vector
            share = (projected - one.neutral.mean()) / one.length
            below = [(one.neutral < value).mean() * 100 for value in projected]
            if one.length > 0:
                np.testing.assert_allclose(mine[f"share_{emotion}"], share, rtol=1e-4, atol=1e-4)
                odds = probabilities(projected, one)
                np.testing.assert_allclose(mine[f"probability_{emotion}"], odds, atol=1e-4)
            np.testing.assert_allclose(mine[f"percentile_{emotion}"], below, atol=1e-4)
    turns = found.frame[found.frame["id"] == "4"]
    assert turns.groupby("turn")["role"].unique().map(list).to_dict() == {
        1: ["user"], 2: ["assistant"],
    }  # fmt: skip


def test_a_text_alone_reads_as_in_a_batch(run, chat_model):
    together = read(run, TEXTS, model=chat_model).frame
    alone = [read(run, text, model=chat_model).frame for text in TEXTS]
    pd.testing.assert_frame_equal(
        together.drop(columns="id"),
        pd.concat(alone, ignore_index=True).drop(columns="id"),
        atol=1e-5,
        rtol=1e-5,
    )


def test_turns_and_texts_are_read_at_their_last_token(run, chat_model):
    by_token = read(run, [TEXTS[1], TALK], model=chat_model).frame
    by_turn = read(run, [TEXTS[1], TALK], model=chat_model, by="turn").frame
    by_text = read(run, [TEXTS[1], TALK], model=chat_model, by="text").frame
    assert by_turn["role"].tolist() == ["", "user", "assistant"]
    for rows, keys in ((by_turn, ["id", "turn"]), (by_text, ["id"])):
        parts = by_token.groupby(keys, sort=False)
        for name in (column for column in by_token if column.startswith("share_")):
            assert rows[name].tolist() == pytest.approx(parts[name].last().tolist(), abs=1e-5)
            mean, peak = (rows[f"{kind}_{name}"].tolist() for kind in ("mean", "peak"))
            assert mean == pytest.approx(parts[name].mean().tolist(), abs=1e-5)
            assert peak == pytest.approx(parts[name].max().tolist(), abs=1e-5)
            odds = name.replace("share", "probability")
            last = parts[odds].last().tolist()
            assert rows[odds].tolist() == pytest.approx(last, abs=1e-5, nan_ok=True)
    assert by_text["tokens"].tolist() == by_token.groupby("id").size().tolist()


def test_in_the_planted_model_the_emotion_reads_from_its_word_on(planted_run):
    battery = planted.stimuli(planted.SPECS["planted"], seed=5)
    joyful = [i for i in battery if i.emotion == "joy" and i.arm == "keyword_free"]
    found = read(planted_run, joyful)
    assert found.place.site.layer >= planted.truth(planted.SPECS["planted"]).head_layer
    for number, item in enumerate(joyful, start=1):
        rows = found.frame[found.frame["id"] == str(number)]
        slot = item.fields["slot"]
        share = rows["share_joy"].to_numpy()
        assert np.abs(share[:slot]).max() < 0.5
        assert share[slot:].min() > 0.6
        assert rows["share_fear"].abs().max() < 0.5
        assert rows["probability_joy"].to_numpy()[:slot].max() < 0.5
        assert rows["probability_joy"].iloc[-1] > 0.8
    assert np.mean(found.frame.groupby("id")["share_joy"].last()) == pytest.approx(1, abs=0.1)
    best = read(planted_run, [*battery.pairs().neutral[:9], joyful[0]], by="text", top=2)
    assert best.frame.groupby("emotion")["rank"].max().to_dict() == {"fear": 2, "joy": 2}
    assert best.frame[best.frame["emotion"] == "joy"]["id"].tolist()[0] == "10"


def test_the_place_is_the_one_that_the_table_chooses(run):
    rows = read_table(run / "tables" / "directions.csv")
    rows = rows[(rows["metric"] == "separation_auroc") & (rows["site"] == "resid_post")]
    means = rows.groupby("layer")["value"].mean()
    first = means[means >= means.max() - 0.01].index[0]
    found = places.find_place(run)
    assert found.site.layer == first
    assert f"at layer {first} (the first whose directions separate" in found.told
    with pytest.raises(UsageError, match=r"layer 9: the run .* has directions at the layers 0, 1"):
        places.find_place(run, layer=9)
    with pytest.raises(UsageError, match="Did you mean 'joy'"):
        places.find_place(run, emotions=["joi"])


def test_a_direction_without_a_length_is_told(run, tmp_path):
    one = next(iter(places.find_place(run).directions.values()))
    told = places.doubts_of({
        "flat": replace(one, length=-0.1, length_interval=(-1.0, 0.5)),
        "unsure": replace(one, length=0.1, length_interval=(-1.0, 0.5)),
        "old": replace(one, neutral=np.empty(0)),
        "sound": replace(one, length=1.0, length_interval=(0.5, 1.5)),
    })  # fmt: skip
    assert [text.split(":")[0] for text in told] == ["flat", "unsure", "old"]
    assert "no share, only percentiles" in told[0]


def test_another_model_is_refused_and_another_form_is_warned_of(run, chat_folder, tiny_model):
    with pytest.raises(ArtefactError, match="is another model"):
        interp.read(run, TEXTS, model=tiny_model("gpt2"))
    record = places.open_record(run)
    with pytest.warns(UserWarning, match="fitted on chat turns and these are read as plain texts"):
        places.open_model(record, model=str(chat_folder), chat_template="off")
    with pytest.raises(ArtefactError, match="holds no run"):
        interp.read(chat_folder, TEXTS)


@pytest.fixture
def data(tmp_path):
    """A data set of three blocks."""
    path = tmp_path / "data.jsonl"
    words = ("the", "dog", "ran", "home", "happy", "cried", "and", "then", "she", "was")
    random = np.random.default_rng(0)
    rows = [
        {"id": f"r{at}", "text": " ".join(random.choice(words, size=random.integers(1, 9)))}
        for at in range(23)
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(verbs, "TEXTS_AT_ONCE", 8)


def job(run, chat_model, **how) -> reading.Job:
    top = how.pop("top", None)
    return reading.Job(chat_model, places.find_place(run), reading.How(**how), top)


def test_a_file_streams_to_the_same_numbers(run, chat_model, data, small_blocks, tmp_path):
    at_once = read(
        run, [json.loads(line)["text"] for line in data.read_text().splitlines()], model=chat_model
    )
    for suffix, load in ((".csv", pd.read_csv), (".parquet", pd.read_parquet),
                         (".jsonl", lambda path: pd.read_json(path, lines=True))):  # fmt: skip
        out = tmp_path / f"found{suffix}"
        found = reading.read_file(
            job(run, chat_model, top=3), RowSource(str(data)), out, asked={"run": "r"}
        )
        rows = load(out)
        assert list(rows) == list(at_once.frame)
        assert rows["id"].unique().tolist() == [f"r{at}" for at in range(23)]
        pd.testing.assert_frame_equal(
            rows.drop(columns=["id", "piece", "role"]),
            at_once.frame.drop(columns=["id", "piece", "role"]),
            check_dtype=False,  # JSON writes 50.0 as 50
            atol=2e-5,
            rtol=1e-4,
        )
        assert not out.with_name(f"{out.name}.parts").exists()
        about = json.loads(out.with_name(f"{out.name}.about.json").read_text())
        assert about["site"] == str(job(run, chat_model).place.site)
        assert (found.n, len(found.frame)) == (len(rows), 3 * len(found.place.directions))


def test_a_reading_that_was_stopped_resumes_to_the_same_bytes(
    run, chat_model, data, small_blocks, tmp_path, monkeypatch
):
    whole, begun = tmp_path / "whole.csv", tmp_path / "begun.csv"
    reading.read_file(job(run, chat_model), RowSource(str(data)), whole, asked={})
    true, seen = tokens.read_rows, []

    def stopped(model, place, rows, **how):
        seen.append(len(rows))
        if len(seen) == 2:
            os.kill(os.getpid(), signal.SIGINT)
        return true(model, place, rows, **how)

    monkeypatch.setattr(verbs, "read_rows", stopped)
    with pytest.raises(Interrupted, match=r"2 blocks of 8 texts .* the same command goes on"):
        reading.read_file(job(run, chat_model), RowSource(str(data)), begun, asked={})
    assert not begun.exists()
    with pytest.raises(ArtefactError, match=r"reading of something else .*by: 'token' there"):
        reading.read_file(job(run, chat_model, by="text"), RowSource(str(data)), begun, asked={})
    reading.read_file(job(run, chat_model), RowSource(str(data)), begun, asked={})
    assert seen == [8, 8, 7]
    assert begun.read_bytes() == whole.read_bytes()
    with pytest.raises(ArtefactError, match="is there already"):
        reading.read_file(job(run, chat_model), RowSource(str(data)), begun, asked={})


def test_a_sink_has_no_units_and_no_part_in_a_mean(run, chat_model, monkeypatch):
    whole = read(run, TEXTS[1], model=chat_model).frame
    norms = chat_model.bridge.run_with_cache(torch.tensor(chat_model.tokenize([TEXTS[1]])))[1]
    place = places.find_place(run)
    norms = norms[str(place.site)][0, whole["token"].tolist()].norm(dim=-1).numpy()
    stream = max(one.stream_norm for one in place.directions.values())
    bound = np.sort(norms)[-2:].mean()  # above all but the longest
    monkeypatch.setattr(tokens, "SINK", float(bound / stream))
    names = [name for name in whole if name.startswith(("share_", "percentile_"))]
    found = read(run, TEXTS[1], model=chat_model).frame
    assert found[names].isna().all(axis=1).tolist() == (norms > bound).tolist()
    by_text = read(run, TEXTS[1], model=chat_model, by="text").frame
    shares = [name for name in names if name.startswith("share_")]
    for name in shares:
        kept = whole[name][norms <= bound]
        assert by_text[f"mean_{name}"][0] == pytest.approx(kept.mean(), abs=1e-4)
        assert by_text[f"peak_{name}"][0] == pytest.approx(kept.max(), abs=1e-4)
    page = interp.read(run, TEXTS[1], model=chat_model, emotions=["joy"]).html()
    assert "share none, percentile none" in page


def test_texts_that_are_too_long_are_named(planted_run):
    model, place = interp.load("planted", check=False), places.find_place(planted_run)
    long = " ".join(["river"] * 200)
    rows = verbs.numbered_texts(["the river", long])
    with pytest.raises(DataError, match=r"text 2: the text has 200 tokens .* holds 128"):
        tokens.read_rows(model, place, rows)
    found, told = tokens.read_rows(model, place, rows, too_long="skip")
    assert [one.row.id for one in found] == ["1"]
    assert told == {"text 2": "not read: 200 tokens, and the context holds 128"}
    found, told = tokens.read_rows(model, place, rows, too_long="right")
    assert len(found[1].content) == 128
    assert told == {"text 2": "72 of 200 tokens cut at the right"}


def command(run, *more):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return outcome("read", run, *more)


def test_the_command_prints_and_writes(run, data, tmp_path):
    code, printed = command(run, "--text", TEXTS[0], "--emotion", "joy", "--json")
    assert code == 0, printed
    told = json.loads(printed)
    assert [row["piece"] for row in told["readings"]] == ["the", " dog", " ran", " home"]
    assert set(told["place"]["emotions"]) == {"joy"}
    code, printed = command(run, "--text", TEXTS[0], "--by", "text")
    head, _, *rows = [line.split() for line in printed.splitlines() if line.strip()]
    units = ["share", "percentile", "probability", "mean_share", "peak_share"]
    assert head == ["emotion", "id", "tokens", "text", *units]
    assert "…" not in printed  # all of it has room, however many emotions there are
    assert {row[0] for row in rows} == set(directions_at(run, 1))
    page = tmp_path / "page.html"
    code, printed = command(run, "--text", "<b>the dog</b> was happy", "--html", page)
    assert (code, str(page) in printed) == (0, True)
    shown = page.read_text()
    assert "&lt;" in shown
    assert "<b>the dog" not in shown
    assert "http" not in shown
    out = tmp_path / "out.csv"
    code, printed = command(run, data, "--by", "text", "--top", 2, "--out", out, "--json")
    assert code == 0, printed
    assert json.loads(printed)["rows"] == len(pd.read_csv(out)) == 23


@pytest.mark.parametrize(
    ("content", "suffix", "code", "told"),
    [
        ('{"text": "the dog"}\n{"txt": "she"}', ".jsonl", 3, "row 2 has no 'text'; it has txt"),
        ('{"text": "the dog"}\n{"text": " "}', ".jsonl", 3, "row 2: the text is empty"),
        ('{"text": 5}', ".jsonl", 3, "row 1: text is 5; expected a text"),
        ('{"text": "a"}\n{"te', ".jsonl", 3, "row 2: this is no JSON"),
        ("id,body\n1,the dog\n", ".csv", 3, "row 1 has no 'text'; it has id, body"),
        ("", ".csv", 3, "there is no text to read"),
        ("the dog\n\nshe", ".txt", 3, "row 2 is blank"),
        ("x", ".pdf", 2, "a file of texts ends in .jsonl, .csv, .tsv, .txt"),
        ('{"messages": [{"role": "user"}]}', ".jsonl", 3, "row 1: message 1 of 1 has no content"),
    ],
)
def test_bad_rows_are_named(run, tmp_path, content, suffix, code, told):
    path = tmp_path / f"bad{suffix}"
    path.write_text(content)
    found, printed = command(run, path)
    assert (found, told in printed) == (code, True), printed


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ((), "what is to be read"),
        (("--text", "a", "--out", "x.csv"), "--out is for a FILE"),
        (("--text", "a", "--html", "x.html", "--by", "text"), "--html shows every token"),
        (("--text", "a", "--emotion", "envy"), "there is no 'envy'"),
        (("nothing.jsonl",), "cannot read nothing.jsonl"),
    ],
)
def test_bad_requests_are_refused(run, more, told):
    code, printed = command(run, *more)
    assert (code, told in printed) == (2, True), printed


def test_stdin_and_tables_give_the_same_texts(tmp_path, monkeypatch):
    texts = ["the dog, she said", "was\thappy"]
    csv = tmp_path / "a.csv"
    pd.DataFrame({"body": texts}).to_csv(csv, index=False)
    tsv = tmp_path / "a.tsv"
    pd.DataFrame({"body": texts}).to_csv(tsv, index=False, sep="\t")
    lines = tmp_path / "lines"
    lines.write_text("\n".join(texts) + "\n")
    with lines.open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        for source in (RowSource(str(csv), "body"), RowSource(str(tsv), "body"), RowSource("-")):
            rows = list(source.rows())
            assert [(row.id, row.prompt) for row in rows] == [("1", texts[0]), ("2", texts[1])]

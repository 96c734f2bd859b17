"""`interp capture`: precision, batches and shards, quarantine, reuse, dry runs; and sites that a
question cannot use.
"""

import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from interp.capture.recording import recorder
from interp.capture.store.folder import RunFolder
from interp.records import read_record
from interp.results import read_table
from support import matched_pairs
from support.capture_command import PAIRS, activations, arrays, shards
from support.commands import outcome

WORD = "scream"
"""A word of every text that evokes fear, and of no other."""


def batches(run: Path) -> list[tuple[int, int]]:
    """(Texts, tokens a text) of each batch that was run."""
    return [
        shape
        for record in RunFolder(run / "activations").records.values()
        for shape in record.batches
    ]


def test_dtype_is_what_the_model_computes_in_and_the_provenance_says_so(command):
    low = {}
    for dtype in ("float32", "bfloat16"):
        run = command(dtype, "--dtype", dtype)
        for provenance in (
            read_record(run / "run.json").provenance["model"],
            RunFolder(run / "activations").head["config"]["model"],
        ):
            assert dtype in provenance["dtype"]
        # the 16 bits that bfloat16 does not have
        low[dtype] = activations(run)[1].view(np.uint32) & 0xFFFF
    assert not low["bfloat16"].any()
    assert (low["float32"] != 0).mean() > 0.9


def test_storage_float16_halves_the_arrays_and_rounds_what_was_computed(command):
    whole, half = command("whole"), command("half", "--storage", "float16")
    sizes = {
        run: {a.dtype for name, found in arrays(run).items() if "hook" in name for a in found}
        for run in (whole, half)
    }
    assert sizes == {whole: {np.dtype(np.float32)}, half: {np.dtype(np.float16)}}
    (items, expected), (same, found) = activations(whole), activations(half)
    assert items == same
    np.testing.assert_array_equal(found, expected.astype(np.float16).astype(np.float32))


def test_a_token_budget_bounds_every_batch_and_changes_no_value(command):
    run, whole = command("small", "--token-budget", "60"), command("whole")
    assert len(batches(whole)) == 1
    assert all(texts * length <= 60 for texts, length in batches(run))
    assert len(batches(run)) == PAIRS  # 22 to 25 tokens a text: two fit, three do not
    np.testing.assert_allclose(activations(run)[1], activations(whole)[1], rtol=1e-4, atol=1e-5)


def test_shards_are_as_large_as_asked(command):
    everything = ("--sites", "resid_pre,resid_post,z,pre,post", "--positions", "all,last")
    large, small = command("large", *everything), command("small", *everything, "--shard-mb", "1")
    held = sum(
        array.nbytes for name, found in arrays(large).items() if "hook" in name for array in found
    )
    assert len(shards(large)) == 1
    assert len(shards(small)) == -(-held // 2**20) > 1
    np.testing.assert_allclose(activations(small)[1], activations(large)[1], rtol=1e-4, atol=1e-5)


@pytest.fixture
def broken(tiny_folder, tmp_path):
    """`broken(word)`: a model in which every text with that word is infinite from the embedding
    on.
    """

    def make(word: str) -> Path:
        folder = tmp_path / f"model-{word}"
        shutil.copytree(tiny_folder("llama"), folder)
        weights = load_file(folder / "model.safetensors")
        weights["model.embed_tokens.weight"][
            AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids(word)
        ] = np.inf
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return folder

    return make


FEAR = [row["id"] for row in matched_pairs.rows(PAIRS) if WORD in row["text"].split()]


def test_a_value_that_is_not_finite_stops_the_capture_and_is_located(command, broken, tmp_path):
    code, message = outcome(
        *command.line("out", "--sites", "resid_pre,resid_post", model=broken(WORD))
    )
    assert code == 3
    named = re.search(
        r"text '(.+?)': non-finite activation at blocks\.0\.hook_resid_pre .* "
        r"token (\d+) \('(.+)'\)",
        message,
    )
    assert named is not None, message
    text = next(row["text"] for row in matched_pairs.rows(PAIRS) if row["id"] == named[1])
    words = ["<bos>", *re.findall(r"\w+|\.", text)]
    assert (words[int(named[2])], named[3]) == (WORD, WORD)
    assert not shards(tmp_path / "out")


def test_a_capture_that_stopped_goes_on_with_the_quarantine_that_its_error_names(
    command, broken, tmp_path, computed
):
    model, small = broken(WORD), ("--token-budget", "60", "--shard-mb", "1")
    code, message = outcome(*command.line("out", *small, model=model))
    assert (code, "--on-nonfinite quarantine" in message) == (3, True)
    with pytest.warns(UserWarning, match="not finite"):
        run = command("out", *small, "--on-nonfinite", "quarantine", model=model)
    assert len(activations(run)[0]) < 2 * PAIRS


def test_quarantine_leaves_out_the_pair_and_names_it(command, broken, tiny_folder):
    sites = ("--sites", "resid_pre,resid_post")
    intact = command("intact", *sites, "--on-nonfinite", "quarantine", model=tiny_folder("llama"))
    with pytest.warns(UserWarning, match="not finite") as told:
        run = command("out", *sites, "--on-nonfinite", "quarantine", model=broken(WORD))
    out = sorted(name for item in FEAR for name in (item, item.replace("-a", "-b")))
    assert sorted(re.findall(r"'(\d+-\w)'", str(told[0].message))) == out
    assert f"{len(out)} (" in str(told[0].message)
    assert str(told[0].message) in read_record(run / "run.json").warnings
    items, found = activations(run)
    assert sorted({row["id"] for row in matched_pairs.rows(PAIRS)} - set(items)) == out
    names, expected = activations(intact)
    np.testing.assert_allclose(
        found, expected[[names.index(item) for item in items]], rtol=1e-4, atol=1e-5
    )
    assert not read_record(intact / "run.json").warnings


@pytest.mark.filterwarnings("ignore:directions. left out:UserWarning")
def test_what_is_in_quarantine_is_in_no_stage(command, broken, tmp_path):
    line = command.line(
        "out", "--on-nonfinite", "quarantine", model=broken(WORD), name="directions"
    )
    assert outcome(*line)[0] == 0
    assert set(read_table(tmp_path / "out" / "tables" / "directions.csv")["emotion"]) == {
        "joy",
        "sadness",
        "anger",
    }


@pytest.mark.filterwarnings("ignore:patching. left out:UserWarning")
@pytest.mark.filterwarnings("ignore:.*the model does not surely tell these")
def test_what_is_not_finite_gives_no_number_to_a_causal_stage(command, broken, tmp_path):
    """A text in quarantine is in no pair. A model that scores a word with NaN is refused."""
    line = command.line("out", "--on-nonfinite", "quarantine", model=broken(WORD), name="patch")
    assert outcome(*line)[0] == 0
    patching = read_table(tmp_path / "out" / "tables" / "patching.csv")
    assert set(patching["emotion"]) == {"joy", "sadness", "anger", "all"}
    assert patching["value"].notna().all()
    folder = broken("joy")  # a word of no text: of the readout alone
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"][5] = np.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    code, message = outcome(*command.line("head", model=folder, name="patch"))
    assert (code, "gives logits that are not finite" in message) == (3, True)
    assert not list(tmp_path.glob("head/tables/*"))


def test_a_capture_of_which_nothing_is_left_says_why(command, broken, tmp_path):
    with pytest.warns(UserWarning, match=rf"not finite.*: {2 * PAIRS} \("):
        code, message = outcome(
            *command.line("out", "--on-nonfinite", "quarantine", model=broken("morning"))
        )
    assert (code, "no pair" in message) == (6, True)
    assert "not finite" in read_record(tmp_path / "out" / "run.json").warnings[0]


@pytest.fixture
def computed(monkeypatch) -> list[str]:
    """The ids of the texts that a model really ran."""
    ids: list[str] = []
    inner = recorder.launch

    def launch(model, engine, plan, places):
        ids.extend(plan.texts[place].id for place in places)
        return inner(model, engine, plan, places)

    monkeypatch.setattr(recorder, "launch", launch)
    return ids


@pytest.mark.parametrize("folder", [".", "activations"])
def test_reuse_computes_only_texts_that_no_earlier_run_holds(folder, command, computed):
    earlier = command("earlier")
    matched_pairs.write(command.stimuli, matched_pairs.rows(PAIRS + 1))
    computed.clear()
    run = command("later", "--reuse", earlier / folder)
    assert sorted(computed) == [f"{PAIRS}-a", f"{PAIRS}-b"]
    (items, found), (before, held) = activations(run), activations(earlier)
    np.testing.assert_array_equal(found[[items.index(item) for item in before]], held)
    computed.clear()
    np.testing.assert_allclose(found, activations(command("fresh"))[1], rtol=1e-4, atol=1e-5)
    assert len(computed) == 2 * PAIRS + 2


def test_reuse_of_another_models_run_is_refused_with_the_reason(command, tiny_folder):
    earlier = command("earlier")
    code, message = outcome(*command.line("later", "--reuse", earlier, model=tiny_folder("llama")))
    assert code == 4
    assert (
        'cannot be reused here: model.architecture: "GPT2LMHeadModel" -> "LlamaForCausalLM"'
        in message
    )
    code, message = outcome(*command.line("nothing", "--reuse", earlier.parent))
    assert (code, "is not a capture" in message) == (4, True)


def dry(line: tuple[object, ...]) -> dict[str, object]:
    code, output = outcome(*line, "--dry-run", "--json")
    assert code == 0, output
    return {row["what"]: row["value"] for row in json.loads(output)}


@pytest.mark.parametrize(
    "options",
    [
        ("--token-budget", "60", "--dtype", "bfloat16"),
        (
            "--storage",
            "float16",
            "--sites",
            "resid_pre,z,post",
            "--positions",
            "all,last",
            "--shard-mb",
            "1",
        ),
    ],
)
def test_a_dry_run_says_what_the_capture_then_makes(options, command, tmp_path):
    told = dry(command.line("out", *options, "--teraflops", "2"))
    assert not (tmp_path / "out").exists()
    run = command("out", *options)
    found = arrays(run)
    made = {
        "pairs": PAIRS,
        "rows": sum(len(array) for array in found["length"]),
        "tokens": sum(int(array.sum()) for array in found["length"]),
        "bytes": sum(
            array.nbytes for name, pieces in found.items() if "hook" in name for array in pieces
        ),
        "shards": len(shards(run)),
        "batches": len(batches(run)),
        "padding": 1
        - sum(int(array.sum()) for array in found["length"])
        / sum(n * length for n, length in batches(run)),
    }
    assert {what: told[what] for what in made} == made


def test_a_dry_run_needs_no_weights(command, tmp_path):
    tiny = command.model
    folder = tmp_path / "described"
    shutil.copytree(tiny, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    before = sorted(tmp_path.rglob("*"))
    free = "bytes free"
    told = {
        where: dry(command.line("out", "--teraflops", "2", model=where)) for where in (tiny, folder)
    }
    assert {**told[folder], free: 0} == {**told[tiny], free: 0}
    assert sorted(tmp_path.rglob("*")) == before
    assert outcome(*command.line("out", model=folder))[0] == 4


def test_teraflops_is_the_speed_that_a_dry_run_reckons_with(command, tmp_path):
    slow, fast = (dry(command.line("out", "--teraflops", speed)) for speed in (2, 8))
    assert (slow["teraflops"], fast["teraflops"]) == (2, 8)
    assert slow["seconds"] == pytest.approx(4 * fast["seconds"])
    code, message = outcome(*command.line("out", "--teraflops", "2"))
    assert (code, "--dry-run" in message) == (2, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "site", "told"),
    [
        (
            "probe",
            "pattern",
            (
                "pattern [batch, 4, query_pos, key_pos] (accepted by capture, patch)",
                "probes read resid_pre",
            ),
        ),
        (
            "directions",
            "z",
            (
                "z [batch, pos, 4, 8] (accepted by capture, patch, ablate",
                "directions read resid_post",
            ),
        ),
    ],
)
def test_a_site_that_a_question_cannot_use_is_told_with_its_shape_before_anything_is_captured(
    name, site, told, command, tmp_path, computed
):
    code, message = outcome(*command.line("out", "--sites", site, name=name))
    assert code == 2
    assert all(part in message for part in told), message
    assert "Add --sites resid_post" in message
    assert computed == []
    assert not (tmp_path / "out" / "activations").exists()


WRONG = {
    "name": (("--sites", "resid_pots"), "did you mean resid_post"),
    "full name": (("--sites", "blocks.0.hook_resid"), "unknown site 'blocks.0.hook_resid'"),
    "layer": (("--sites", "resid_post@99"), "layer 99 is out of range. The model has layers 0..2."),
    "head": (("--sites", "blocks.0.attn.hook_z[9]"), "heads 0..3"),
    "position": (("--positions", "first"), "unknown position rule 'first'"),
}


@pytest.mark.filterwarnings("ignore:transfer was not run")
@pytest.mark.parametrize("name", ["capture", "run"])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_place_that_is_not_there_ends_every_command_before_anything_is_computed(
    wrong, name, command, tmp_path, computed
):
    extra, fragment = WRONG[wrong]
    code, message = outcome(*command.line("out", *extra, name=name))
    assert (code, fragment in message) == (2, True), message
    assert computed == []
    assert not list(tmp_path.rglob("report.html"))
    assert not (tmp_path / "out").exists()


def test_a_command_put_right_begins_where_the_wrong_one_would_have(command, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert outcome(*command.line("out", "--sites", "resid_post@99"))[0] == 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["notes.txt"]
    run = command("out", "--sites", "z")
    code, message = outcome(*command.line("out", "--sites", "z", name="directions"))
    assert (code, "directions read resid_post" in message) == (2, True)
    assert shards(run)  # what another command made is not taken back
    assert (run / "run.json").exists()


def test_a_capture_that_the_disk_cannot_hold_leaves_nothing(command, tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "disk_usage", lambda path: SimpleNamespace(free=10))
    code, message = outcome(*command.line("out"))
    assert (code, "are free" in message) == (5, True)
    assert not (tmp_path / "out").exists()


def test_a_dry_run_says_which_stages_are_left(command):
    stages = "stages to run"
    before = dry(command.line("out", "--teraflops", "2"))[stages]
    assert before.startswith("capture, probes, persistence, directions")
    command("out")
    assert f"capture, {dry(command.line('out', '--teraflops', '2'))[stages]}" == before


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_whole_run_answers_what_its_sites_allow_and_says_what_not(command, tmp_path):
    code, output = outcome(
        *command.line("out", "--sites", "pattern", "--positions", "last", "--json", name="run")
    )
    summary = json.loads(output)
    assert code == 0
    left_out = [warning.split()[0] for warning in summary["warnings"] if "was not run: " in warning]
    stages = ["directions", "cosines", "geometry", "contributions", "ablation", "circuit"]
    assert left_out == ["transfer", "probes", "persistence", *stages, "steering"]
    tables = {path.stem for path in (tmp_path / "out" / "tables").glob("*.csv")}
    assert tables == {"attribution", "patching"}
    assert "probes was not run" in Path(summary["report"]).read_text(encoding="utf-8")
    badges = {one["question"]: one for one in summary["answer"]["badges"]}
    assert badges["represented beyond the words"]["says"] == "cannot be said"
    assert summary["answer"] == dict(read_record(tmp_path / "out" / "run.json").answer)
    assert {"stage", "text", "about"} == {name for one in summary["cautions"] for name in one}
    code, output = outcome(
        *command.line("out", "--sites", "pattern", "--positions", "last", name="run")
    )
    assert code == 0
    assert summary["answer"]["sentence"] in output
    assert "  represented beyond the words: cannot be said\n" in output
    cautions = len(summary["warnings"]) + len(summary["cautions"])
    assert f"{cautions} cautions stand beside their numbers" in output


def test_new_run_begins_beside_a_run_with_other_settings(command, tmp_path):
    command("run")
    code, message = outcome(*command.line("run", "--seed", "1"))
    assert code == 4
    assert "--new-run" in message
    code, message = outcome(*command.line("run", "--seed", "1", "--new-run"))
    assert code == 0, message
    assert read_record(tmp_path / "run-2" / "run.json").config["seed"] == 1

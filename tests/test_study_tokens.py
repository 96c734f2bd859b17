"""A whole study under tokenizers that close their texts, with texts that are cut, and with an
emotion that has no words.
"""

import json
import shutil

import numpy as np
import pytest

from interp import study
from interp.errors import DataError
from interp.records import read_record
from interp.results import read_table
from support import matched_pairs

CAUSAL = ("patching", "contributions", "ablation", "steering")
SITES = ("resid_post", "z", "post")


def conduct(model, out, rows, **settings):
    """A quick study of these rows; its tables by stage."""
    path = matched_pairs.write(out.with_suffix(".jsonl"), rows)
    asked = {
        "model": str(model),
        "stimuli": str(path),
        "out": out,
        "preset": "quick",
        "sites": SITES,
        "positions": ("last_content",),
    }
    summary = study.run(study.Settings.of(**asked, **settings))
    assert not matched_pairs.not_run(summary["warnings"]), summary["warnings"]
    return {name: read_table(out / "tables" / f"{name}.csv") for name in ("directions", *CAUSAL)}


def closing(folder, path):
    """The model in `folder` with a tokenizer that puts an end token behind each text, too."""
    shutil.copytree(folder, path)
    file = path / "tokenizer.json"
    content = json.loads(file.read_text())
    content["post_processor"]["single"].append({"SpecialToken": {"id": "<eos>", "type_id": 0}})
    content["post_processor"]["special_tokens"]["<eos>"] = {
        "id": "<eos>",
        "ids": [2],
        "tokens": ["<eos>"],
    }
    file.write_text(json.dumps(content))
    return path


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_tokenizer_that_closes_texts_changes_no_number_of_a_study(tiny_folder, tmp_path):
    rows = [
        {**row, "text": row["text"] + " " * (at % 3)}
        for at, row in enumerate(matched_pairs.rows(16))
    ]
    plain = conduct(tiny_folder("llama"), tmp_path / "plain", rows)
    closed = conduct(closing(tiny_folder("llama"), tmp_path / "model"), tmp_path / "closed", rows)
    for name, table in plain.items():
        np.testing.assert_allclose(
            closed[name]["value"], table["value"], rtol=1e-4, atol=1e-5, err_msg=name
        )
    assert (
        set(plain["directions"]["position"])
        == set(plain["steering"]["position"])
        == {"last_content"}
    )


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("side", ["left", "right"])
def test_texts_that_are_cut_go_through_all_stages(tiny_folder, tmp_path, side):
    """What is cut away decides nothing: means over all pairs are the same, whatever stood there."""

    def padded(filler):
        kept, gone = "and so " * 60, f"{filler} " * 60
        around = "{gone}{kept}{text}" if side == "left" else "{text} {kept}{gone}"
        return [
            {**row, "text": around.format(gone=gone, kept=kept, text=row["text"])}
            for row in matched_pairs.rows(16)
        ]

    model = closing(tiny_folder("llama"), tmp_path / "model")
    sea, hill = (
        conduct(model, tmp_path / one, padded(f"the {one}"), truncate=side)
        for one in ("sea", "hill")
    )
    means = [
        [
            table["patching"]
            .query("metric == 'total_effect'")
            .set_index(["mode", "emotion"])["value"]
            .sort_index(),
            table["directions"]
            .query("metric == 'norm'")
            .set_index(["emotion", "layer"])["value"]
            .sort_index(),
        ]
        for table in (sea, hill)
    ]
    for one, other in zip(*means, strict=True):
        assert len(one)
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    path = matched_pairs.write(tmp_path / "long.jsonl", padded("the sea"))
    with pytest.raises(DataError, match="--truncate"):
        study.run(
            study.Settings(model=str(model), stimuli=str(path), out=tmp_path / "uncut", sites=SITES)
        )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_emotion_without_words_is_left_out_and_told(tiny_folder, tmp_path):
    rows = [
        {**row, "emotion": "zyzzyva" if row["emotion"] == "fear" else row["emotion"]}
        for row in matched_pairs.rows(16)
    ]
    found = conduct(tiny_folder("llama"), tmp_path / "run", rows)
    known = {"joy", "sadness", "anger"}
    assert (
        set(found["directions"]["emotion"])
        == set(found["contributions"]["emotion"])
        == {*known, "zyzzyva"}
    )
    assert set(found["patching"]["emotion"]) == {*known, "all"}
    assert set(found["ablation"]["emotion"]) == set(found["ablation"]["target"]) == {*known, "all"}
    assert set(found["steering"]["emotion"]) == {*known, "all"}
    record = read_record(tmp_path / "run" / "run.json")
    told = [
        warning
        for warning in record.warnings
        if "words for zyzzyva have no tokens of their own" in warning
    ]
    assert [warning.split(":")[0] for warning in told] == ["patching"]  # told once
    asked = record.provenance["readout"]
    assert (asked["suffix"], set(asked["words"])) == (" The feeling here is", known)
    assert asked["words"]["joy"] == {"joy": "joy", "happy": "happy"}
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "The words that the model was asked by" in report
    assert "<td>happy, joy</td>" in report

"""`interp capture` by several workers, and looking after what they made: `--repair`, `interp
verify`, `interp inspect`.
"""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from interp.cli import cli
from interp.records import read_record
from support.capture_command import PAIRS, activations, shards
from support.commands import outcome

WRONG_WORKERS = {
    "a worker too many": (("--shard", "4/4"), "write serial, processes:2"),
    "no number": (("--shard", "x"), "write serial, processes:2"),
    "two ways at once": (
        ("--shard", "0/2", "--executor", "ray"),
        "leave out --executor and --workers",
    ),
    "workers of one": (("--workers", "8"), "serial is this process alone"),
    "repair of a plan": (("--repair", "--dry-run"), "neither with --dry-run nor with --new-run"),
    "repair of another": (("--repair", "--new-run"), "neither with --dry-run nor with --new-run"),
}


@pytest.mark.parametrize("wrong", WRONG_WORKERS)
def test_who_computes_is_checked_before_anything_is_made(wrong, command, tmp_path):
    extra, fragment = WRONG_WORKERS[wrong]
    code, message = outcome(*command.line("out", *extra))
    assert (code, fragment in message) == (2, True), message
    assert not (tmp_path / "out").exists()


def test_calls_that_share_the_work_make_one_capture(command, tmp_path):
    code, message = outcome(*command.line("out", "--shard", "1/2", "--token-budget", "60"))
    assert (code, "worker 1 of 2 has done its part" in message) == (75, True)
    run = command("out", "--shard", "0/2", "--token-budget", "60")
    np.testing.assert_array_equal(
        activations(run)[1], activations(command("whole", "--token-budget", "60"))[1]
    )


@pytest.mark.slow
def test_processes_make_the_capture(command):
    run = command("out", "--executor", "processes", "--workers", "1", "--token-budget", "60")
    np.testing.assert_array_equal(
        activations(run)[0], activations(command("whole", "--token-budget", "60"))[0]
    )


def test_repair_says_what_it_forgot_and_json_stays_json(command, tmp_path):
    run = command("out")
    shards(run)[0].write_bytes(b"x")
    result = CliRunner().invoke(
        cli, [str(word) for word in command.line("out", "--repair", "--json")]
    )
    assert result.exit_code == 0
    assert json.loads(result.stdout)["out"] == str(run)
    assert "it is damaged" in result.stderr
    manifest = (run / "activations" / "manifest.jsonl").read_bytes()
    shards(run)[0].write_bytes(b"x")
    for wrong in (("--shard", "4/4"), ("--positions", "first")):
        assert outcome(*command.line("out", "--repair", *wrong))[0] == 2
    assert (run / "activations" / "manifest.jsonl").read_bytes() == manifest
    assert outcome(*command.line("out", "--repair"))[0] == 0
    assert outcome("verify", run)[0] == 0
    code, message = outcome(*command.line("nothing", "--repair"))
    assert (code, "is not a capture" in message) == (4, True)


def test_a_capture_is_verified_in_the_precision_it_was_made_in(command):
    run = command("half", "--dtype", "bfloat16")
    code, output = outcome("verify", run, "--model", command.model, "--recompute", "0.2", "--json")
    assert code == 0, output
    assert json.loads(output)[-1]["check"] == "recompute"


def test_the_layers_of_a_capture_can_be_looked_at(command):
    code, output = outcome(
        "inspect", command("out", "--positions", "last_content"), "--layers", "--json"
    )
    rows = json.loads(output)
    assert (code, [row["site"] for row in rows]) == (
        0,
        [f"blocks.{layer}.hook_resid_post" for layer in range(3)],
    )
    assert all(row["n"] == 2 * PAIRS and row["mean_norm"] > 0 for row in rows)


def test_a_dry_run_is_refused_where_the_run_would_be(command):
    command("out")
    code, message = outcome(*command.line("out", "--token-budget", "60", "--dry-run"))
    assert (code, "holds a run with other settings" in message) == (4, True)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_a_capture_warned_of_is_told_again_by_whoever_opens_it(command, tiny_folder, tmp_path):
    """A worker in another process, or a run that was killed, has nobody to tell: the store
    remembers.
    """
    folder = shutil.copytree(tiny_folder("llama"), tmp_path / "loud")
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.0.mlp.down_proj.weight"] *= 1e6
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    run = command("out", "--storage", "float16", model=folder)
    record = json.loads((run / "run.json").read_text())
    assert any("beyond float16" in warning for warning in record["warnings"])
    (run / "run.json").write_text(json.dumps({**record, "warnings": []}))
    command("out", "--storage", "float16", model=folder)
    told = read_record(run / "run.json").warnings
    assert any("beyond float16" in warning for warning in told)
    assert (
        outcome(*command.line("out", "--storage", "float16", model=folder, name="directions"))[0]
        == 0
    )
    again = [
        warning for warning in read_record(run / "run.json").warnings if "beyond float16" in warning
    ]
    assert again == [warning for warning in told if "beyond float16" in warning]  # not once a stage

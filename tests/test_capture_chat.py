"""Capturing conversations: turns read by role, one template a store, and the same tree whoever
computes it.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from transformers import AutoModelForCausalLM, AutoTokenizer

import stimuli
from interp import study
from interp.capture.options import Options
from interp.capture.plan import make_plan, tokenise
from interp.capture.positions import parse_position
from interp.capture.recording.recorder import Recorder
from interp.capture.store.folder import RunFolder
from interp.capture.verify import verify
from interp.capture.workers.processes import Work
from interp.cli import cli
from interp.errors import ArtefactError, DataError, InterpError, UsageError
from interp.models import load
from interp.records import read_record
from interp.results import read_table
from stimuli.battery import Battery, Stimulus
from support import matched_pairs
from support.capture_cases import battery, capture, tree

TALK = [
    {"role": "system", "content": "We are calm ."},
    {"role": "user", "content": "The dog ran away"},
    {"role": "assistant", "content": "It was a good dog ."},
    {"role": "user", "content": "why ?"},
    {"role": "assistant", "content": "so it goes"},
]
SITES = ("resid_post@0-1",)
PLACES = {
    "system": [2, 3, 4, 5],
    "user": [8, 9, 10, 11, 22, 23],
    "assistant": [14, 15, 16, 17, 18, 19, 26, 27, 28],
}
"""Counted by hand: <bos> is 0, and each turn has one token before it and one behind."""


def talks(**fields):
    talk = Stimulus("talk", "The dog ran away", "joy", fields={"messages": TALK, **fields})
    return Battery("talks", (talk, Stimulus("text", "Anna lost the old dog", "joy")))


def only(battery, *ids):
    return Battery(battery.name, tuple(item for item in battery if item.id in ids))


@pytest.fixture(scope="module")
def plain(chat_folder):
    return load(str(chat_folder), chat_template="off", check=False)


@pytest.fixture(scope="module")
def states(chat_folder):
    """The residual stream after each block, of Hugging Face's own model on its own tokenizer's own
    rendering.
    """
    ids = AutoTokenizer.from_pretrained(chat_folder).apply_chat_template(TALK, return_tensors="pt")[
        "input_ids"
    ]
    with torch.no_grad():
        found = AutoModelForCausalLM.from_pretrained(chat_folder)(
            ids, output_hidden_states=True
        ).hidden_states
    return [state[0].numpy() for state in found[1:]]


@pytest.mark.parametrize("role", PLACES)
def test_a_role_is_the_mean_over_its_turns_counted_by_hand(chat_model, states, role):
    with capture(
        chat_model, only(talks(), "talk"), sites=SITES, positions=[f"role({role})", "mean_content"]
    ) as store:
        for layer in (0, 1):
            found = store.read(f"blocks.{layer}.hook_resid_post", f"role({role})").x[0]
            everything = store.read(f"blocks.{layer}.hook_resid_post", "mean_content").x[0]
            expected = states[layer][PLACES[role]].mean(axis=0)
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
            whole = sorted(place for places in PLACES.values() for place in places)
            np.testing.assert_allclose(
                everything, states[layer][whole].mean(axis=0), rtol=1e-5, atol=1e-5
            )
            with_openings = sorted({place - 1 for place in PLACES[role]} | set(PLACES[role]))
            # the template's own tokens count not
            assert np.abs(found - states[layer][with_openings].mean(axis=0)).max() > 1e-3


def test_other_rules_and_spans_speak_of_the_conversations_text(chat_model, states):
    # "dog ran" in "We are calm .\nThe dog ran away\n..."
    texts = only(talks(seen="good dog", where=[18, 25]), "talk")
    rules = {"span(seen)": [17, 18], "span(where)": [9, 10], "last_content": [28], "last": [29]}
    with capture(chat_model, texts, sites=SITES, positions=list(rules)) as store:
        for rule, places in rules.items():
            found = store.read("blocks.1.hook_resid_post", rule).x[0]
            np.testing.assert_allclose(
                found, states[1][places].mean(axis=0), rtol=1e-5, atol=1e-5, err_msg=rule
            )


def test_a_text_is_one_user_turn(chat_model):
    with capture(
        chat_model,
        only(talks(), "text"),
        sites=SITES,
        positions=("role(user)", "mean_content", "all"),
    ) as store:
        site = "blocks.1.hook_resid_post"
        user, content, everything = (
            store.read(site, rule).x for rule in ("role(user)", "mean_content", "all")
        )
        assert len(everything) == 8
        np.testing.assert_allclose(user[0], everything[2:7].mean(axis=0), rtol=1e-5, atol=1e-6)
        assert np.array_equal(user, content)


def test_without_a_template_there_are_no_turns(plain):
    (text,) = tokenise(plain, only(talks(), "text"), options=Options())
    assert text.turns == ()
    with pytest.raises(
        DataError, match=r"text 'text' has no turns for role\(user\).*--chat-template on"
    ):
        parse_position("role(user)").select(text)
    with pytest.raises(DataError, match=r"talk is a conversation .*--chat-template on"):
        capture(plain, talks(), sites=SITES)


def test_a_role_that_never_speaks_is_told_with_those_that_do(chat_model):
    with pytest.raises(
        DataError,
        match=r"text 'text' has no turn of the role 'assistant' .* its turns are of: user",
    ):
        capture(chat_model, talks(), sites=SITES, positions=["role(assistant)"])
    for bad in ("role", "role()"):
        with pytest.raises(UsageError, match=r"role\(assistant\)"):
            parse_position(bad)


def test_broken_messages_are_told_before_any_forward(chat_model, monkeypatch):
    monkeypatch.setattr(chat_model.bridge, "forward", lambda *a, **k: pytest.fail("the model ran"))
    broken = Battery(
        "broken", (Stimulus("talk", "dog", "joy", fields={"messages": [{"role": "user"}]}),)
    )
    with pytest.raises(DataError, match="talk: message 1 of 1 has no content"):
        capture(chat_model, broken, sites=SITES)
    with pytest.raises(UsageError, match="are not cut"):
        capture(chat_model, talks(), sites=SITES, truncate="right")


def test_our_reader_keeps_messages_as_they_are(tmp_path, chat_model):
    row = {"id": "talk", "text": "The dog ran away", "emotion": "joy", "messages": TALK}
    found = stimuli.load(matched_pairs.write(tmp_path / "talks.jsonl", [row]))
    assert found.items[0].fields["messages"] == TALK
    (text,) = tokenise(chat_model, found, options=Options())
    assert text.text == "\n".join(message["content"] for message in TALK)
    assert [role for role, _, _ in text.turns] == [message["role"] for message in TALK]
    stimuli.save(found, tmp_path / "again.jsonl")
    assert stimuli.load(tmp_path / "again.jsonl").sha256 == found.sha256
    stimuli.save(found, tmp_path / "again.csv")
    assert stimuli.load(tmp_path / "again.csv").sha256 == found.sha256


def test_a_store_has_one_template(chat_model, plain, chat_folder, tmp_path):
    out = tmp_path / "run"
    capture(chat_model, battery(2), sites=SITES, out=out).close()
    before = tree(out)
    with pytest.raises(
        ArtefactError, match=r"another configuration.*model\.chat_template: \"\w+\" -> null"
    ) as error:
        capture(plain, battery(2), sites=SITES, out=out)
    assert error.value.exit_code == 4
    path = tmp_path / "other.jinja"
    # the closed turns are the same tokens
    swapped = chat_model.chat.text.replace("<assistant>", "<user>")
    path.write_text(swapped, encoding="utf-8")
    other = load(str(chat_folder), chat_template=str(path), check=False)
    assert other.tokenize([battery(1).items[0].text]) == chat_model.tokenize(
        [battery(1).items[0].text]
    )
    with pytest.raises(ArtefactError, match=r"model\.chat_template: \"\w+\" -> \"\w+\""):
        capture(other, battery(2), sites=SITES, out=out)
    assert tree(out) == before
    assert verify(out, recompute=0.5, model=chat_model)[-1]["passed"]
    with pytest.raises(
        ArtefactError, match=r"cannot recompute.*chat_template: \"\w+\" -> null.*--chat-template"
    ):
        verify(out, recompute=0.5, model=plain)


@pytest.mark.slow
def test_processes_give_the_serial_tree(chat_folder, tmp_path, one_thread):
    path = tmp_path / "other.jinja"
    path.write_text(
        "{{ bos_token }}{% for m in messages %}<user> {{ m.content }} {% endfor %}",
        encoding="utf-8",
    )
    model = load(str(chat_folder), chat_template=str(path), check=False)
    for executor in ("serial", "processes:2"):
        options = {"token_budget": 96, "shard_batches": 1, "executor": executor}
        capture(model, battery(), sites=SITES, out=tmp_path / executor, **options).close()
    assert tree(tmp_path / "serial") == tree(tmp_path / "processes:2")


def test_a_worker_loads_the_template_of_its_planner_and_no_other(
    chat_model, plain, tmp_path, one_thread
):
    for planner in (chat_model, plain):
        plan = make_plan(planner, battery(2), sites=SITES, positions=("last",), options=Options())
        recorder = Recorder(planner, plan)
        work = Work.of(
            recorder, RunFolder.begin(tmp_path / str(planner is chat_model), recorder.head)
        )
        assert (
            work.recorder().model.provenance["chat_template"] == planner.provenance["chat_template"]
        )
        with pytest.raises(ArtefactError, match="is not the one that the capture was planned with"):
            replace(work, chat_template="off" if planner is chat_model else "on").recorder()


def outcome(*arguments):
    """Exit code and message of a command, as `interp.cli.main` would give them."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    if isinstance(result.exception, InterpError):
        return result.exception.exit_code, str(result.exception)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.fixture
def command(chat_folder, tmp_path):
    """A capture's command line over four talks, written by hand."""
    rows = [
        {
            "id": f"{i}",
            "text": "dog",
            "emotion": e,
            "pair": f"p{i // 2}",
            "messages": [
                {"role": "user", "content": f"the dog {verb}"},
                {"role": "assistant", "content": "so it goes"},
            ],
        }
        for i, (e, verb) in enumerate([("joy", "ran"), ("neutral", "sat")] * 4)
    ]
    for row in rows:
        row["text"] = f"{row['messages'][0]['content']} {row['id']}"
    path = matched_pairs.write(tmp_path / "talks.jsonl", rows)
    return (
        "capture",
        "--model",
        chat_folder,
        "--stimuli",
        path,
        "--out",
        tmp_path / "out",
        "--sites",
        "resid_post",
    )


def test_the_command_line_captures_turns_and_keeps_to_its_template(command, chat_folder, tmp_path):
    rules = ("--positions", "role(assistant),last")
    assert outcome(*command, *rules, "--chat-template", "on")[0] == 0
    record = read_record(tmp_path / "out" / "run.json")
    assert record.config["chat_template"] == "on"
    assert len(record.provenance["model"]["chat_template"]) == 64
    code, message = outcome(*command, *rules, "--chat-template", "off")
    assert (code, "chat_template: 'on' there, None now" in message) == (4, True)
    activations = (
        "verify",
        tmp_path / "out" / "activations",
        "--model",
        chat_folder,
        "--recompute",
        "0.5",
    )
    assert outcome(*activations, "--chat-template", "on")[0] == 0
    code, message = outcome(*activations, "--chat-template", "off")
    assert (code, "chat_template" in message) == (4, True)


def test_a_templates_file_is_known_by_its_content(command, tmp_path):
    path = tmp_path / "first.jinja"
    path.write_text(
        "{{ bos_token }}{% for m in messages %}<{{ m.role }}> {{ m.content }} {% endfor %}",
        encoding="utf-8",
    )
    assert outcome(*command, "--chat-template", path)[0] == 0
    same = path.rename(tmp_path / "second.jinja")
    assert outcome(*command, "--chat-template", same)[0] == 0
    same.write_text(same.read_text() + " ", encoding="utf-8")
    code, message = outcome(*command, "--chat-template", same)
    assert (code, "chat_template: 'sha256 " in message) == (4, True)


@pytest.mark.parametrize(
    ("extra", "code", "told"),
    [
        (("--chat-template", "off"), 3, "0 is a conversation (messages)"),
        (("--chat-template", "no/such.jinja"), 2, "cannot read the chat template"),
        (("--chat-template", "on", "--truncate", "left"), 2, "are not cut"),
        (
            ("--chat-template", "on", "--positions", "role(system)"),
            3,
            "no turn of the role 'system'",
        ),
    ],
)
def test_exit_codes(command, extra, code, told):
    found, message = outcome(*command, *extra)
    assert (found, told in message) == (code, True), message


def test_nothing_is_left_behind_where_the_template_is_no_file(command, tmp_path):
    assert outcome(*command, "--chat-template", "no/such.jinja")[0] == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.filterwarnings("ignore:transfer was not run")
def test_a_base_model_ends_a_whole_run_at_once(tiny_folder, tmp_path):
    path = matched_pairs.write(tmp_path / "pairs.jsonl")
    told = (
        "run",
        "--model",
        tiny_folder("llama"),
        "--stimuli",
        path,
        "--out",
        tmp_path / "out",
        "--chat-template",
        "on",
    )
    code, message = outcome(*told)
    assert (code, "none (it is a base model's)" in message) == (2, True)


def test_doctor_and_sites_ask_nothing_of_a_template(chat_folder):
    assert outcome("sites", chat_folder, "--json")[0] == 0
    code, output = outcome("doctor", chat_folder, "--json")
    assert (code, all(row["passed"] for row in json.loads(output))) == (0, True)


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_study_under_a_template_reads_directions_where_it_edits(chat_folder, tmp_path):
    path = matched_pairs.write(tmp_path / "pairs.jsonl", matched_pairs.rows(16))
    sites = ("resid_post", "z", "post")
    settings = study.Settings.of(
        model=str(chat_folder),
        stimuli=str(path),
        out=tmp_path / "run",
        chat_template="on",
        sites=sites,
        preset="quick",
    )
    summary = study.run(settings)
    assert not matched_pairs.not_run(summary["warnings"])
    assert not [warning for warning in summary["warnings"] if "plain" in warning]
    directions = read_table(tmp_path / "run" / "tables" / "directions.csv")
    steering = read_table(tmp_path / "run" / "tables" / "steering.csv")
    # fitted where it acts
    assert set(directions["position"]) == set(steering["position"]) == {"last_content"}
    unsaid = study.Settings(
        model=str(chat_folder), stimuli=str(path), out=tmp_path / "plain", sites=("resid_post",)
    )
    told = study.run(unsaid, stages=["directions"])["warnings"]
    assert [warning for warning in told if "is a chat model" in warning]
    assert set(read_table(tmp_path / "plain" / "tables" / "directions.csv")["position"]) == {
        "last_content"
    }

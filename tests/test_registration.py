"""A study that is told beforehand: sealed, run as it was registered or not at all, and held against
what was claimed.
"""

import json
import subprocess
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from interp import study
from interp.capture.store.sealed_json import seal
from interp.cli.settings_file import Given
from interp.cli.study import KNOWN_IN_FILES
from interp.errors import ArtefactError
from interp.models import load
from interp.records import read_record
from interp.reporting.report import write_report
from interp.settings import StudyOptions
from interp.study.config import read_settings_file
from interp.study.registration import git_commit, read_registration
from support.commands import outcome

RECEPTION = (
    "probes: a linear probe tells emotional texts from their neutral twins, beyond the words"
)
STRONGEST = "directions: the strongest direction separates held-out texts"
WEAKEST = "directions: the weakest direction separates held-out texts"
STEERED = "steering: the emotions' directions raise their own words"

SETTINGS = """
model = "planted"
stimuli = "planted"
out = "run"
preset = "quick"
emotions = ["joy", "fear"]
sites = ["resid_post@2"]
"""
CLAIMS = f"""
[[claims]]
claim = "{STRONGEST}"
at_least = 0.9

[[claims]]
claim = "{STEERED}"
verdict = "not found"
surely_at_most = 0.1
"""


def written(folder: Path, text: str = SETTINGS + CLAIMS, name: str = "study") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def quietly(*words: object) -> tuple[int, str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # they are kept in run.json
        return outcome(*words)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a registration and the run that was registered; of the two claims one is met,
    and one was not looked at.
    """
    found = tmp_path_factory.mktemp("registered")
    code, told = outcome("register", written(found))
    assert code == 0, told
    assert not (found / "run").exists()
    code, told = quietly("directions", "--registration", found / "study.registration.json")
    assert code == 0, told
    for line in (
        "directions [exploratory]: The weakest of 2 directions",
        "directions [registered found, at least 0.9: met]: The strongest of 2 directions",
        "steering [registered not found, surely at most 0.1: not answered]: This run measured",
        "Of 2 registered claims: 1 met, 0 missed, 1 not answered.",
    ):
        assert line in told
    return found


@pytest.fixture
def sealed(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "study.registration.json").read_text())["content"]


def test_a_registration_freezes_what_will_be_asked(folder, sealed):
    assert sealed["claims"] == [
        {"claim": STRONGEST, "verdict": "found", "at_least": 0.9},
        {"claim": STEERED, "verdict": "not found", "surely_at_most": 0.1},
    ]
    assert sealed["settings"]["out"] == "run"
    asked = study.Settings.of(
        model="planted", stimuli="planted", out=folder / "run", preset="quick",
        emotions=("joy", "fear"), sites=("resid_post@2",),
    )  # fmt: skip
    identity = asked.identity
    assert sealed["effective"] == {n: identity[n] for n in identity if n not in
                                   ("model", "stimuli", "judge")}  # fmt: skip
    assert sealed["battery"]["sha256"] == asked.read_battery().sha256
    weights = load("planted", check=False).provenance["weights"]
    assert sealed["model"]["weights"] == weights
    assert sealed["registered"].endswith("+00:00")
    assert sealed["software"]["torch"]


def test_the_run_says_of_each_claim_what_became_of_it_and_goes_on_without_its_file(folder):
    expected = {WEAKEST: None, STRONGEST: "met", STEERED: "not answered"}
    record = read_record(folder / "run" / "run.json")
    told = {f"{one['stage']}: {one['what']}": one["registered"] for one in record.verdict}
    assert told == expected
    code, text = quietly("directions", "--config", folder / "study.toml", "--json")
    assert code == 0
    summary = json.loads(text)
    assert summary["registration"]["claims"] == {"met": 1, "missed": 0, "not answered": 1}
    assert [one["registered"] for one in summary["findings"]] == list(expected.values())
    page = write_report(folder / "run").read_text(encoding="utf-8")
    assert "wanted: found, at least 0.9" in page


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--folds", 4), "registered another study (folds: 5 registered, 4 now)"),
        (("--sites", "z"), "sites: ['resid_post@2'] registered, ['z'] now"),
        (("--model", "planted_null"), "model: 'planted' registered, 'planted_null' now"),
        (("--stimuli", "plain"), "stimuli: 'planted' registered, 'plain' now"),
    ],
)
def test_another_study_than_was_registered_is_refused_by_name(words, told, folder):
    path = folder / "study.registration.json"
    code, text = outcome("probe", "--registration", path, *words)
    assert (code, told in text) == (4, True), text


def test_other_versions_than_were_registered_are_told(folder, sealed):
    made = read_registration(folder / "study.registration.json")
    assert made.other_versions() == []
    older = {**sealed, "software": {**sealed["software"], "torch": "1.0"}}
    (told,) = replace(made, content=older).other_versions()
    assert "torch: '1.0' registered, " in told


def resealed(path: Path, target: Path, **changed: Any) -> Path:
    """A registration of something else, with a seal that is right."""
    content = json.loads(path.read_text())["content"]
    target.write_text(seal({**content, **changed}), encoding="utf-8")
    return target


def test_other_texts_weights_or_defaults_than_registered_are_refused(folder, tmp_path, sealed):
    path = folder / "study.registration.json"
    other = {**sealed["battery"], "sha256": "0" * 64}
    texts = resealed(path, tmp_path / "texts.registration.json", battery=other)
    code, told = outcome("probe", "--registration", texts)
    assert (code, "battery_sha256: '0000" in told) == (4, True), told
    other = {**sealed["model"], "weights": {"memory": "0" * 64}}
    weights = resealed(path, tmp_path / "weights.registration.json", model=other)
    code, told = outcome("probe", "--registration", weights)
    assert (code, "was registered with other weights of 'planted'" in told) == (4, True), told
    other = {**sealed["effective"], "probe": "lda"}
    later = resealed(path, tmp_path / "later.registration.json", effective=other)
    code, told = outcome("probe", "--registration", later)
    assert (code, "probe: 'lda' registered, 'logistic' now" in told) == (4, True), told
    assert not (tmp_path / "run").exists()


def test_a_registration_that_was_changed_is_refused(folder, tmp_path):
    text = (folder / "study.registration.json").read_text()
    changed = tmp_path / "changed.registration.json"
    changed.write_text(text.replace('"at_least": 0.9', '"at_least": 0.8'))
    code, told = outcome("probe", "--registration", changed)
    assert (code, "was changed after it was written" in told) == (4, True), told
    changed.write_text(text.replace('"schema": 1', '"schema": 2'))
    assert outcome("probe", "--registration", changed)[0] == 4
    later = resealed(folder / "study.registration.json", changed, schema=2)
    code, told = outcome("probe", "--registration", later)
    assert (code, "of schema 2, and this interp reads 1" in told) == (4, True), told
    changed.write_text(seal({"schema": 1, "claims": []}))
    code, told = outcome("probe", "--registration", changed)
    assert (code, "lacks battery, effective, model" in told) == (4, True), told
    for content, code in (("{}", 4), ("[1", 4), (None, 2)):
        other = tmp_path / f"{code}{content}.json"
        if content is not None:
            other.write_text(content)
        assert outcome("probe", "--registration", other)[0] == code


def test_a_registration_that_was_changed_in_the_record_is_told(folder, tmp_path):
    record = json.loads((folder / "run" / "run.json").read_text())
    record["provenance"]["registration"]["content"]["claims"][0]["at_least"] = 0.1
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(ArtefactError, match="was changed after it was written"):
        study.report(tmp_path)


def test_a_file_of_settings_beside_a_registration_is_refused(folder):
    words = ("--registration", folder / "study.registration.json")
    code, told = outcome("run", "--config", folder / "study.toml", *words)
    assert (code, "leave out --config" in told) == (2, True), told


def test_claims_that_nobody_sealed_are_told_of(tmp_path, capsys):
    config = read_settings_file(written(tmp_path), KNOWN_IN_FILES)
    Given(config=config).check(StudyOptions(model="planted", stimuli="planted", out=tmp_path))
    assert "are not registered: `interp register" in capsys.readouterr().err


def test_what_was_looked_at_cannot_be_registered(folder, tmp_path):
    late = written(folder, name="late")
    code, told = outcome("register", late)
    assert (code, "it has been looked at" in told) == (4, True), told
    other = written(folder, SETTINGS + "folds = 3\n" + CLAIMS, name="other")
    code, told = outcome("register", other)
    assert (code, "folds: 5 there, 3 now" in told) == (4, True), told
    assert not list(folder.glob("[lo]*.registration.json"))


def test_a_registration_comes_too_late_for_a_run_that_was_begun(folder, tmp_path):
    record = read_record(folder / "run" / "run.json")
    provenance = {n: one for n, one in record.provenance.items() if n != "registration"}
    (tmp_path / "run").mkdir()
    replace(record, provenance=provenance).write(tmp_path / "run" / "run.json")
    path = resealed(folder / "study.registration.json", tmp_path / "study.registration.json")
    code, told = outcome("probe", "--registration", path)
    assert (code, "was begun without a registration" in told) == (4, True), told
    again = resealed(path, tmp_path / "again.registration.json", registered="later")
    words = ("--registration", again, "--out", folder / "run")
    code, told = outcome("probe", *words)
    assert (code, "was begun with another registration" in told) == (4, True), told


CIRCUITS = (
    "circuit: the circuits hold more of the emotions' words than random circuits of the same "
    "layers (at all tokens)"
)
NEAR = f'\n[[claims]]\nclaim = "{RECEPTION.replace("beyond", "behind")}"\n'


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        (SETTINGS, 2, "claims nothing: add a table [[claims]]"),
        (SETTINGS + NEAR, 2, f"Did you mean '{RECEPTION}'?"),
        (SETTINGS + CLAIMS + CLAIMS, 2, "twice: keep one of the two"),
        (SETTINGS.replace('out = "run"', "") + CLAIMS, 2, "lacks the key 'out'"),
        (SETTINGS.replace('"joy", "fear"', '"gloom"') + CLAIMS, 3, "gloom"),
        (SETTINGS.replace('"planted"', '"planter"') + CLAIMS, 2, "planter"),
        (
            f'{SETTINGS}\n[[claims]]\nclaim = "{CIRCUITS}"\n',
            2,
            "the preset quick leaves out the stage circuit",
        ),
    ],
)
def test_what_cannot_be_registered_is_refused(text, code, told, tmp_path):
    found = outcome("register", written(tmp_path, text))
    assert (found[0], told in found[1]) == (code, True), found[1]
    assert not (tmp_path / "study.registration.json").exists()


def test_a_claim_that_the_battery_cannot_answer_is_refused(tmp_path):
    claims = '\n[[claims]]\nclaim = "transfer: a probe of keyword_rich tells texts that do not name'
    claims += ' the feeling from their neutral twins, beyond the words"\n'
    text = SETTINGS.replace("planted", "storyworld", 2).replace('"joy", "fear"', '"anger"')
    code, told = outcome("register", written(tmp_path, text + claims))
    assert (code, "transfer cannot be asked" in told) == (6, True), told


def test_a_registration_is_never_written_over(folder):
    before = (folder / "study.registration.json").read_bytes()
    code, told = outcome("register", folder / "study.toml")
    assert (code, "is there already" in told) == (2, True), told
    assert (folder / "study.registration.json").read_bytes() == before


def test_a_registered_study_may_lie_elsewhere(folder, tmp_path, monkeypatch):
    """Paths are relative to the file, whichever folder the command is called in."""
    monkeypatch.chdir(folder)
    known = read_registration(Path("study.registration.json")).settings
    assert known["out"] == Path("run")
    monkeypatch.chdir(tmp_path)
    settings = read_registration(folder / "study.registration.json").settings
    assert settings["out"] == folder / "run"


def test_the_commit_is_that_of_the_folder(tmp_path):
    assert git_commit(tmp_path) is None
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    for words in (("init", "-q"), (*who, "commit", "-q", "--allow-empty", "-m", "one")):
        subprocess.run(["git", "-C", tmp_path, *words], check=True)
    told = subprocess.run(
        ["git", "-C", tmp_path, "log", "--format=%H"], check=True, capture_output=True, text=True
    )
    assert git_commit(tmp_path) == told.stdout.strip()


def test_all_claims_are_listed():
    code, text = outcome("claims")
    assert code == 0
    assert RECEPTION in text.splitlines()
    assert {"claim": STEERED} in json.loads(outcome("claims", "--json")[1])

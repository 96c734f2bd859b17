"""Records of testbeds: each makes what it names; a model is known by its weights, not its name."""

import shutil

import pytest

import stimuli
from interp.errors import UsageError
from interp.evaluation.judges import judge_for, oracle
from interp.evaluation.readouts import find_testbed, readout_for, without_words
from interp.models import load
from interp.models.loading.names import FORMS, resolve
from interp.study.conditions import unreadable
from interp.testbeds import planted, records, storyworld

STORY = " slammed the door. Then it rained."


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """The story world's model in a folder of another name."""
    return shutil.copytree(storyworld.folder(), tmp_path_factory.mktemp("models") / "mine")


@pytest.fixture(scope="module")
def altered(tmp_path_factory):
    """The same model with one bit of its weights changed, in a folder with the testbed's name."""
    folder = shutil.copytree(storyworld.folder(), tmp_path_factory.mktemp("models") / "storyworld")
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    return folder


def test_the_table_has_a_line_for_every_record():
    packages = {planted: "planted", storyworld: "storyworld"}
    offered = {name: at for package, at in packages.items() for name in package.RECORDS}
    assert offered == records.TESTBEDS
    for name in records.TESTBEDS:
        assert resolve(name) == "testbed"
        assert name in FORMS


@pytest.mark.parametrize("name", records.TESTBEDS)
def test_a_record_makes_the_battery_of_its_seed_and_has_words_for_its_emotions(name):
    record = records.testbed(name)
    expected = {
        "planted": lambda: planted.stimuli(planted.SPECS["planted"], seed=3),
        "planted_null": lambda: planted.stimuli(planted.SPECS["planted_null"], seed=3),
        "storyworld": lambda: storyworld.battery(seed=3),
    }
    made = record.battery(3)
    assert list(made) == list(expected[name]())
    assert set(record.words) == {item.emotion for item in made} - {"neutral"}
    assert all(record.words.values())
    assert [item.text for item in record.battery(4)] != [item.text for item in made]


def test_a_copied_testbed_keeps_its_judge_and_its_words(copied):
    model = load(str(copied), check=False)
    assert model.provenance["source"] == "folder"
    for known in (model, str(copied)):
        assert find_testbed(known) is records.testbed("storyworld")
        assert readout_for(known, ["anger"]).words == {"anger": list(storyworld.feelings("anger"))}
        assert readout_for(known, ["anger"]).suffix == " felt"
        assert judge_for(known)([STORY]) == ["anger"]
        assert unreadable(known, ("envy",)).keys() == {"envy"}
    assert oracle(model, readout_for(model, ["anger"])) is storyworld.storyworld_oracle


def test_other_weights_are_no_testbed_whatever_their_folder_is_called(altered):
    model = load(str(altered), check=False)
    default = stimuli.prompts("readout")["default"]
    for other in (model, str(altered)):
        assert find_testbed(other) is None
        assert judge_for(other) is None
        assert readout_for(other, ["anger"]).words == {"anger": default["words"]["anger"]}
        assert without_words(other, ["envyish"]) == ["envyish"]
        assert unreadable(other, ("envyish",)) == {}
    with pytest.raises(UsageError, match="has no oracle"):
        oracle(model, readout_for(model, ["anger"]))


def test_a_testbed_that_is_built_in_memory_is_known_by_its_name():
    model = load("planted_null", check=False)
    assert find_testbed(model) is records.testbed("planted_null")
    assert judge_for(model)(["fearsome", "it is"]) == ["fear", "neutral"]


@pytest.mark.parametrize("name", ["org/some-model", "no\0file", "x" * 5000, "no-such-folder"])
def test_a_name_that_is_no_folder_is_no_testbed(name):
    assert find_testbed(name) is None

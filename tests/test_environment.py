"""`interp env` says what is installed and set here, the same in text and in JSON, and no path."""

import json
import os
import platform
from importlib import metadata
from pathlib import Path

import torch

import interp
from interp.models.environment import READERS, VARIABLES
from support.commands import outcome


def test_it_tells_the_versions_that_are_installed(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    code, told = outcome("env", "--json")
    facts = json.loads(told)
    assert code == 0
    assert facts["interp"] == interp.__version__
    assert facts["python"] == platform.python_version()
    for name in ("torch", "transformers", "transformer-lens", "numpy", "scikit-learn", "gguf"):
        assert facts[name] == metadata.version(name)
    assert facts["torch threads"] == str(torch.get_num_threads())
    assert facts["devices"].startswith("cpu")
    assert facts["OMP_NUM_THREADS"] == "3"
    assert facts["HF_HUB_OFFLINE"] == "not set"
    assert {*READERS, *VARIABLES} <= facts.keys()


def test_a_package_that_is_not_there_is_told_to_be_not_there(monkeypatch):
    monkeypatch.setattr("interp.models.environment.READERS", ("no-such-package",))
    assert json.loads(outcome("env", "--json")[1])["no-such-package"] == "not installed"


def test_text_has_the_facts_of_the_json_and_no_path_of_the_user():
    facts = json.loads(outcome("env", "--json")[1])
    code, told = outcome("env")
    assert code == 0
    lines = [line.split("  ", 1) for line in told.splitlines()]
    assert {(name, value.strip()) for name, value in lines} == set(facts.items())
    assert str(Path.home()) not in told
    assert os.sep + "site-packages" not in told

"""Fixtures that many tests share: tiny models, built once a session."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from support.type_checks import begin_test, check_first_calls

check_first_calls()


def pytest_runtest_setup() -> None:
    """Types and shapes are checked in the first calls of each test."""
    begin_test()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`tiny_folder(family)` is the Hugging Face folder of a tiny random model; read it, never write
    in it.
    """
    from support.tiny_models import make_folder

    @cache
    def folder(family: str) -> Path:
        return make_folder(family, tmp_path_factory.mktemp("models") / family)

    return folder


@pytest.fixture(scope="session")
def tiny_model(tiny_folder: Callable[[str], Path]) -> Callable[[str], Any]:
    """`tiny_model(family)` is that model, loaded and checked; leave it as you found it."""
    from interp.models import load

    @cache
    def model(family: str) -> Any:
        return load(str(tiny_folder(family)))

    return model


@pytest.fixture(scope="session")
def chat_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny Llama whose tokenizer carries the chat template `tiny_models.CHAT`; read
    it, never write in it.
    """
    from support.tiny_models import CHAT, make_folder

    return make_folder("llama", tmp_path_factory.mktemp("chat") / "model", chat=CHAT)


@pytest.fixture(scope="session")
def chat_model(chat_folder: Path) -> Any:
    """That model, its texts given under its own template; leave it as you found it."""
    from interp.models import load

    return load(str(chat_folder), chat_template="on", check=False)


@pytest.fixture(scope="session")
def chat_tokenizer(chat_folder: Path) -> Any:
    """Hugging Face's own tokenizer of that model."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(chat_folder)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole studies end without figures and a page: to draw them takes longer than a tiny study."""
    from interp.study import runs

    monkeypatch.setattr(runs, "report", lambda out: out / "not drawn")


@pytest.fixture
def few_baselines() -> Iterator[None]:
    """Two text baselines instead of all: to fit these takes longer than what is tried. Their order,
    which tables keep, is the same again behind it.
    """
    from interp.analysis.baselines import BASELINES

    whole = dict(BASELINES)
    for name in whole.keys() - {"bag_of_words", "length"}:
        del BASELINES[name]
    yield
    BASELINES.clear()
    BASELINES.update(whole)


@pytest.fixture
def all_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quick study runs the stages, too, that it leaves to their own commands."""
    from interp.study.presets import PRESETS

    for name, preset in PRESETS.items():
        monkeypatch.setitem(PRESETS, name, replace(preset, without=()))


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """torch computes with one thread, as workers are told to: equal digits need equal threads."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def llama(tiny_folder: Callable[[str], Path], one_thread: None) -> Any:
    """A tiny Llama on one thread."""
    from interp.models import load

    return load(str(tiny_folder("llama")), check=False)


@pytest.fixture(scope="module")
def clean(llama: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The bytes of the tree that an undisturbed capture with that Llama leaves."""
    from support.capture_cases import tree, write_store

    out = tmp_path_factory.mktemp("clean") / "run"
    write_store(llama, out).close()
    return tree(out)


@pytest.fixture
def command(tmp_path: Path, tiny_folder: Callable[[str], Path]) -> Any:
    """`interp capture` of matched pairs through a tiny GPT-2: see `CaptureCommand`."""
    from support.capture_command import CaptureCommand

    return CaptureCommand(tmp_path, tiny_folder("gpt2"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with the most slow tests first, so that two workers end together: a worker takes a file
    at a time.
    """
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])

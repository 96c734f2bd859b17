"""The audit of a battery as the command line asks for it: our word lists, two kinds of subword
tokens, a table and a figure.

The gate itself is `interp.analysis.audit`. A battery's twins must also be alike for subword
tokenizers, and no published vocabulary is shipped here: byte pairs are learned from the battery's
own texts, once split as GPT-2 splits a text and once as Llama does.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from threadpoolctl import threadpool_limits
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

import stimuli
from interp.analysis.audit import AuditResult, audit
from interp.analysis.baselines import words
from interp.analysis.questions import lexicons
from interp.files import make_folder, write_atomic
from interp.reporting.battery import audit_figure
from interp.reporting.figures import as_bytes
from interp.results import table as tidy
from interp.results import write_table
from stimuli.battery import Battery
from stimuli.words import emotion_words

VOCABULARY = 2000
"""Byte pairs to learn: few, so that all but common words fall into pieces, as rare words do in a
large vocabulary.
"""

_SPLITTERS: Mapping[str, Callable[[], pre_tokenizers.PreTokenizer]] = {
    "gpt2_style": lambda: pre_tokenizers.ByteLevel(add_prefix_space=False),
    "llama_style": lambda: pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(),
            pre_tokenizers.Punctuation(),
            pre_tokenizers.Digits(individual_digits=True),
        ]
    ),
}


def audit_battery(battery: Battery, *, seed: int = 0) -> AuditResult:
    """The whole gate on `battery`, with the package's word lists. Raises as `audit`."""
    everyday = stimuli.lexicon("everyday_senses")["words"]
    # The matrices are small: several threads per product would wait for one another longer than
    # they compute.
    with threadpool_limits(1):
        return audit(
            battery,
            emotion_words=emotion_words(),
            lexicons={**lexicons(), "everyday_senses": everyday},
            count_tokens=token_counters([item.text for item in battery]),
            seed=seed,
        )


def token_counters(texts: Sequence[str]) -> dict[str, Callable[[str], int]]:
    """Ways to count a text's tokens: words, and byte pairs learned from `texts`, split as by GPT-2
    and as by Llama.
    """
    counters: dict[str, Callable[[str], int]] = {"words": lambda text: len(words(text))}
    for name, splitter in _SPLITTERS.items():
        counters[name] = _counter(_byte_pairs(texts, splitter()))
    return counters


def content(result: AuditResult) -> dict[str, Any]:
    """What `--json` prints: the gate's rules and the baselines, without the places at fault."""
    found = result.content()
    found["gate"]["rules"] = [
        _only(row, "rule", "passed", "value", "bound") for row in found["gate"]["rules"]
    ]
    found["baselines"] = [
        _only(row, "baseline", "task", "auroc", "ci_low", "ci_high", "n")
        for row in found["baselines"]
    ]
    return found


def verdict(result: AuditResult) -> list[str]:
    """Lines for people: each rule that does not hold with the places at fault, then the verdict."""
    failed = [rule for rule in result.rules if not rule.passed]
    held = f"{len(result.rules) - len(failed)} of {len(result.rules)} rules hold"
    return [
        *(
            f"failed: {rule.rule}: value {rule.value}, bound {rule.bound}. {rule.detail}"
            for rule in failed
        ),
        f"{result.battery}: {held}; the gate is {'not ' if failed else ''}passed.",
    ]


def audit_table(result: AuditResult, *, seed: int = 0) -> pd.DataFrame:
    """The audit as one tidy table, told apart by `method`.

    gate: a row per rule (`metric` its name, `value`, `bound`, `passed`, `detail`); text_baseline: a
    row per baseline (`control` its name, `task`, AUROC with interval); coverage: how many texts
    each arm, emotion, domain, person and tense has; length: the words of each arm's texts (median,
    and between `draw_low` and `draw_high` nine of ten).
    """
    same = {"battery": result.battery, "seed": seed}
    rows: list[dict[str, Any]] = [
        {
            **same,
            "method": "gate",
            "metric": rule.rule,
            "n": int(result.coverage["n"].sum()),
            "passed": str(rule.passed),
            "value": rule.value,
            "bound": rule.bound,
            "detail": rule.detail,
        }
        for rule in result.rules
    ]
    for found in result.baselines:
        measured = _only(found, "task", "ci_low", "ci_high", "n", "detail")
        rows.append(
            {
                **same,
                **measured,
                "method": "text_baseline",
                "metric": "auroc",
                "control": found["baseline"],
                "value": found["auroc"],
            }
        )
    for count in result.coverage.to_dict("records"):
        rows.append(
            {
                **same,
                **{str(name): cell for name, cell in count.items()},
                "method": "coverage",
                "metric": "texts",
                "value": count["n"],
            }
        )
    for arm in result.lengths.to_dict("records"):
        rows.append(
            {
                **same,
                "method": "length",
                "metric": "words",
                "arm": arm["arm"],
                "n": arm["n"],
                "value": arm["median"],
                "draw_low": arm["low"],
                "draw_high": arm["high"],
            }
        )
    absent = ("value", "bound", "ci_low", "ci_high", "draw_low", "draw_high")
    nothing = dict.fromkeys(absent, math.nan)
    return tidy(
        {**nothing, **{name: math.nan if cell is None else cell for name, cell in row.items()}}
        for row in rows
    )


def write_audit(result: AuditResult, out: Path, *, seed: int = 0) -> list[Path]:
    """Write the table as audit.csv and its figure as audit.svg and audit.png into `out`; the files.

    Raises `ResourceError` when the disk refuses.
    """
    make_folder(out)
    rows = audit_table(result, seed=seed)
    write_table(rows, out / "audit.csv")
    figure = audit_figure(rows)
    for form in ("svg", "png"):
        write_atomic(out / f"audit.{form}", as_bytes(figure, form))
    return [out / f"audit.{form}" for form in ("csv", "svg", "png")]


def _byte_pairs(texts: Sequence[str], splitter: pre_tokenizers.PreTokenizer) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = splitter
    tokenizer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=VOCABULARY, show_progress=False)
    )
    return tokenizer


def _counter(tokenizer: Tokenizer) -> Callable[[str], int]:
    return lambda text: len(tokenizer.encode(text).ids)


def _only(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: row[name] for name in names if name in row}

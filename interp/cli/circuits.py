"""The command `circuit`, which finds circuits, writes them down and says what they are worth; and
`paths`, which says which way the emotion goes from head to head.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import click

from interp.cli.loading import load_model, refuse_at_once
from interp.cli.options import GroupedCommand, as_json, gathered
from interp.cli.printing import show, show_json, show_said
from interp.errors import UsageError
from interp.sentence_options import CircuitOptions, PathOptions


@click.command(cls=GroupedCommand)
@gathered(CircuitOptions, into="asked")
@as_json
def circuit(asked: CircuitOptions, as_json: bool) -> None:
    """Find the heads and neurons that carry each emotion on one half of the scenarios, write them
    into a file, and say what they are worth on the other half.

    \b
      interp circuit --model storyworld --stimuli storyworld --emotion anger --out anger.json
    """
    import stimuli

    battery = stimuli.load(asked.stimuli)
    emotions = _emotions(asked.emotion, battery.pairs().emotions)
    if asked.out.is_dir():
        raise UsageError(f"{asked.out} is a folder: name a file, such as circuit.json.")
    model = load_model(asked.model, **asdict(asked.loading))
    from interp.causal.circuit import save_circuits
    from interp.causal.faithfulness import FaithfulnessTrial
    from interp.reporting.formatting import told_number
    from interp.study.circuits import gather, influence_of, search_all

    material = gather(model, battery, emotions, budget=asked.budget, seed=asked.seed)
    searched = search_all(material, emotions, budget=asked.budget)
    save_circuits(asked.out, [one.circuit for one in searched.values()])
    how = FaithfulnessTrial(reach="last", optimal=asked.optimal_circuits, seed=asked.seed)
    trials = [how, replace(how, reach="all", tried=0)]
    rows = influence_of(material, searched, trials, n_pairs=asked.pairs)
    write = _rounded if as_json else told_number
    told = [_told(emotion, one.circuit, rows, write) for emotion, one in searched.items()]
    if as_json:
        show_json({"out": str(asked.out), "circuits": told, "rows": rows})
        return
    show(told, as_json=False)
    click.echo(asked.out)


def _emotions(text: str, known: tuple[str, ...]) -> list[str]:
    """The emotions between commas; `all` are those that have twins."""
    if text == "all":
        return list(known)
    named = [part.strip() for part in text.split(",")]
    lacking = [one for one in named if one not in known]
    if lacking or len(set(named)) < len(named):
        asked = f"{lacking[0]!r} has no twins" if lacking else "an emotion is named twice"
        raise UsageError(
            f"--emotion {text}: {asked}; the battery has {', '.join(known) or 'none'}."
        )
    return named


def _told(
    emotion: str,
    circuit: Any,
    rows: list[dict[str, Any]],
    write: Callable[[Mapping[str, Any]], Any],
) -> dict[str, Any]:
    """What a person is told of a circuit: its size, and by each reach f, what random circuits
    hold (and those of other choices, where they were asked for), what is left without it, the
    share of its heaviest parts that are needed, and CPR; each as `write` gives it.
    """
    mine = [r for r in rows if r.get("emotion") == emotion and r.get("outcome") == "words"]
    told: dict[str, Any] = {
        "emotion": emotion,
        "heads": len(circuit.heads),
        "neurons": len(circuit.neurons),
    }
    for reach in dict.fromkeys(row["reach"] for row in mine):
        for name, metric, control in _TOLD:
            wanted = {"reach": reach, "metric": metric, "control": control}
            found = [r for r in mine if all(r.get(key) == value for key, value in wanted.items())]
            if not found and (control in _RIVALS or metric == "needed"):
                continue
            told[f"{name} ({reach})"] = write(found[0]) if found else None
    return told


def _rounded(row: Mapping[str, Any]) -> float:
    return round(row["value"], 3)


_TOLD = (
    ("f", "circuit_faithfulness", ""),
    ("f random", "circuit_faithfulness", "random"),
    ("f by the gradient", "circuit_faithfulness", "integrated"),
    ("f greedy", "circuit_faithfulness", "greedy"),
    ("left without", "left_without", ""),
    ("needed", "needed", ""),
    ("CPR", "cpr", ""),
)
_RIVALS = ("integrated", "greedy")


@click.command(cls=GroupedCommand)
@gathered(PathOptions, into="asked")
@as_json
def paths(asked: PathOptions, as_json: bool) -> None:
    """Say from which heads and MLPs an emotion comes and which later heads and MLPs read it there:
    chosen by the gradient on one half of the scenarios, patched exactly on the other.

    \b
      interp paths --model storyworld --stimuli storyworld --out runs/paths
    """
    refuse_at_once(asked.out, asked.model, asked.stimuli)
    from interp.reporting.paths import listed_paths, said_of_paths
    from interp.study.path_trial import run_paths

    table = run_paths(asked)
    show_said(said_of_paths(table), asked.out, as_json=as_json, paths=listed_paths(table))


COMMANDS = (circuit, paths)

"""The commands that measure what a direction does: `evaluate-steering` says how steering works,
`score-sheet` reads what people say of its texts, `introspect` asks the model about what is added;
and `elicit`, which makes directions of what the model replies when it is asked for emotions.
"""

from pathlib import Path

import click

from interp.cli import side_by_side
from interp.cli.loading import refuse_at_once
from interp.cli.options import GroupedCommand, as_json, gathered
from interp.cli.printing import show, show_json, show_said
from interp.options import options_of
from interp.prompting_options import ElicitOptions
from interp.sentence_options import IntrospectionOptions, SentenceOptions, TrialOptions
from interp.settings import ModelOptions
from interp.study.unfinished import UNFINISHED

_OF_A_TRIAL = tuple(
    name
    for name in options_of(SentenceOptions)
    if name not in ("emotion", "direction", "run", "layer", "scale")
)


_OF_A_QUESTION = tuple(
    name for name in _OF_A_TRIAL if name not in ("where", "max_new_tokens", "temperature")
)

_OF_REPLIES = (
    "model", *options_of(ModelOptions), "stimuli", "max_new_tokens", "temperature", "seed",
)  # fmt: skip


@click.command("evaluate-steering", cls=GroupedCommand)
@gathered(SentenceOptions, into="asked", only=_OF_A_TRIAL)
@gathered(TrialOptions, into="how")
@as_json
def trial(asked: SentenceOptions, how: TrialOptions, as_json: bool) -> None:
    """Measure steering: success by several judges, specificity and cost, beside the unsteered
    model, an instruction in words, random directions and other emotions' directions.

    \b
      interp evaluate-steering --model smollm2 --judge forced_choice,lexicon --out runs/steered
    One that was stopped goes on by the same command.
    """
    refuse_at_once(how.out, asked.model, asked.stimuli, begun=UNFINISHED)
    from interp.reporting.before_after import before_and_after
    from interp.study.sheets import STEERED_TEXTS
    from interp.study.steering_trial import SCORES, arm_rows, run_trial

    tables = run_trial(asked, how)
    rows = arm_rows(tables[SCORES])
    texts = [one._asdict() for one in before_and_after(tables[STEERED_TEXTS])]
    if as_json:
        show_json({"out": str(how.out), "arms": rows, "texts": texts})
        return
    show(rows, as_json=False)
    side_by_side.show_texts(texts)
    click.echo(how.out)
    if how.sheet is not None:
        click.echo(
            f"{how.sheet}: to be filled in, then: interp score-sheet {how.sheet} --run {how.out}"
        )


@click.command("introspect", cls=GroupedCommand)
@gathered(SentenceOptions, into="asked", only=_OF_A_QUESTION)
@gathered(IntrospectionOptions, into="how")
@as_json
def asking(asked: SentenceOptions, how: IntrospectionOptions, as_json: bool) -> None:
    """Ask a model about an emotion's direction while it is added: does it notice, and can it say
    which? Beside a question whose answer is no, another question, and letters for names.

    \b
      interp introspect --model smollm2 --emotions joy,fear,anger,sadness --out runs/asked
    """
    refuse_at_once(how.out, asked.model, asked.stimuli)
    from interp.reporting.introspection import said_of
    from interp.study.introspection_trial import run_introspection

    show_said(said_of(run_introspection(asked, how)), how.out, as_json=as_json)


@click.command("elicit", cls=GroupedCommand)
@gathered(SentenceOptions, into="asked", only=_OF_REPLIES)
@gathered(ElicitOptions, into="how")
@as_json
def eliciting(asked: SentenceOptions, how: ElicitOptions, as_json: bool) -> None:
    """Make directions of a chat model's own replies: the same questions under an instruction for
    each emotion; replies that a judge accepts are kept, and read over their own tokens.

    \b
      interp elicit --model smollm2 --emotions joy,fear,anger,sadness --out runs/elicited
    """
    refuse_at_once(how.out, asked.model, asked.stimuli)
    from interp.analysis.elicited import ELICITED
    from interp.reporting.elicited import emotions_told, told_of_elicited
    from interp.study.elicited_trial import ELICITED_REPLIES, run_elicit

    tables = run_elicit(asked, how)
    said = told_of_elicited(tables[ELICITED])
    rows = emotions_told(tables[ELICITED], tables[ELICITED_REPLIES])
    show_said(said, how.out, as_json=as_json, emotions=rows)


@click.command("score-sheet")
@click.argument("sheets", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--run",
    required=True,
    type=click.Path(path_type=Path),
    help="The folder of the evaluate-steering that wrote the sheet.",
)
@as_json
def score_sheet(sheets: tuple[Path, ...], run: Path, as_json: bool) -> None:
    """Score SHEETS that people filled in: each is one more judge of the steered texts.

    Success of every arm, by each person and by each judge of the evaluation, on the texts of the
    sheet; and how far each two agree (Cohen's kappa). Written to tables/sheet_scores.csv.
    """
    from interp.study.sheets import agreed, score_sheets
    from interp.study.steering_trial import arm_rows

    scores = score_sheets(sheets, run)
    arms, kappas = arm_rows(scores), agreed(scores)
    if as_json:
        show_json({"arms": arms, "agreement": kappas})
        return
    show(arms, as_json=False)
    show(kappas, as_json=False)


COMMANDS = (trial, score_sheet, asking, eliciting)

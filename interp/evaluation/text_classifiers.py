"""Judges that are classifiers of text, made apart from the model that is steered: one of Hugging
Face, and one fitted on the sentence embeddings of a battery's texts.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from sklearn.linear_model import LogisticRegression
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import stimuli
from interp.causal.readout import Readout
from interp.causal.steered_texts import Judge
from interp.defaults import SENTENCE_ARM
from interp.errors import ResourceError, UsageError
from interp.evaluation.sentence_embedding import AT_ONCE, embed
from interp.models import LanguageModel
from interp.models.loading.belonging import TRANSFORMERS_ERRORS, refuse_missing
from interp.models.loading.names import split_hub_id
from interp.models.quiet import first_line, quietly
from stimuli.battery import NEUTRAL

LEAST_LABELS = 2
"""Emotions that a classifier must share with the readout."""


def classifier(model: LanguageModel, readout: Readout, behind: str) -> Judge:
    """The likeliest label of a Hugging Face text classifier, a local folder or `org/name@revision`
    (safetensors, no code of its own).

    A label is an emotion where it has its name; another label is a verdict for none of them.
    Emotions that the classifier does not know are warned of: they cannot be reached. Raises
    `UsageError` for a classifier that knows fewer than two of them, `ResourceError` for a folder
    that cannot be read, `ArtefactError` for one that lacks weights (a model without its head).
    """
    name, revision = (behind, None) if Path(behind).is_dir() else split_hub_id(behind)
    how: dict[str, Any] = {"revision": revision, "trust_remote_code": False}
    try:
        with quietly():
            tokenizer = AutoTokenizer.from_pretrained(name, **how)
            loaded: Any = AutoModelForSequenceClassification.from_pretrained(
                name, use_safetensors=True, output_loading_info=True, **how
            )
    except (*TRANSFORMERS_ERRORS, SafetensorError) as error:
        reason = first_line(error)
        raise ResourceError(
            f"{behind} is no text classifier that can be read: {reason} Give a folder with "
            "config.json, tokenizer and model.safetensors."
        ) from error
    network, report = loaded
    refuse_missing(behind, report)
    network.eval()
    labels = [str(network.config.id2label[at]).lower() for at in range(network.config.num_labels)]
    _check_labels(behind, labels, readout.emotions)

    def read(texts: Sequence[str]) -> list[str | None]:
        found: list[str | None] = []
        for first in range(0, len(texts), AT_ONCE):
            part = list(texts[first : first + AT_ONCE])
            batch = tokenizer(part, padding=True, truncation=True, return_tensors="pt")
            with torch.inference_mode():
                best = network(**batch).logits.argmax(-1).tolist()
            found += [labels[label] for label in best]
        return found

    return abstaining(read)


def embedding(model: LanguageModel, readout: Readout, behind: str) -> Judge:
    """The emotion that a logistic regression finds in the text's sentence embedding
    (`interp.evaluation.sentence_embedding`), fitted on the keyword-rich texts of the battery
    `behind`, and on its neutral ones, where it has such: then its verdict may be `neutral`.

    All classes count alike. Raises `UsageError` for a battery without keyword-rich texts of at
    least two of the readout's emotions, and as `stimuli.load` and `embed`.
    """
    texts = stimuli.load(behind)
    rich = [item for item in texts.where(arm=SENTENCE_ARM) if item.emotion in readout.emotions]
    if len({item.emotion for item in rich}) < LEAST_LABELS:
        raise UsageError(
            f"the judge embedding:{behind} is fitted on texts of the arm {SENTENCE_ARM}, and the "
            f"battery has none of two of the emotions {', '.join(readout.emotions)}: give another."
        )
    known = [*rich, *(item for item in texts if item.emotion == NEUTRAL)]
    fitted = LogisticRegression(C=10.0, class_weight="balanced", max_iter=1000)
    fitted.fit(embed([item.text for item in known]), [item.emotion for item in known])
    return abstaining(lambda texts: list(map(str, fitted.predict(embed(texts)))))


def abstaining(read: Judge) -> Judge:
    """`read`, which is not asked about blank texts: these have no verdict."""

    def judge(continuations: Sequence[str]) -> list[str | None]:
        kept = [place for place, one in enumerate(continuations) if one.strip()]
        verdicts: list[str | None] = [None] * len(continuations)
        said = read([continuations[place] for place in kept]) if kept else []
        for place, verdict in zip(kept, said, strict=True):
            verdicts[place] = verdict
        return verdicts

    return judge


def _check_labels(name: str, labels: Sequence[str], emotions: Sequence[str]) -> None:
    lost = [emotion for emotion in emotions if emotion not in labels]
    if len(emotions) - len(lost) < LEAST_LABELS:
        raise UsageError(
            f"the classifier {name} has the labels {', '.join(labels)}: at least {LEAST_LABELS} of "
            f"them must be among {', '.join(emotions)}."
        )
    if lost:
        warnings.warn(
            f"the classifier {name} has no label for {', '.join(lost)}: it never finds them.",
            stacklevel=3,
        )

"""Texts read under system prompts: the same user turn behind each of them."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from interp.analysis.malleability import SystemPrompt
from interp.capture import capture
from interp.directions import Direction
from interp.errors import DataError, UsageError
from interp.models import LanguageModel
from interp.models.texts.conversations import FIELD, Message, as_messages, prompt_of
from interp.sites import LAST
from stimuli.battery import Battery, Stimulus

SYSTEM = "system"


def require_system_role(model: LanguageModel) -> None:
    """Raise `UsageError` unless the model's texts are chat turns, and its template writes a system
    turn as it stands.
    """
    if model.chat is None:
        raise UsageError(
            f"{model.name} is given plain texts, which no system prompt can stand before: say "
            "--chat-template on, or name a chat model."
        )
    try:
        model.chat.lay_out([_system("a"), {"role": "user", "content": "b"}], name=model.name)
    except DataError as error:
        raise UsageError(
            f"{model.name} cannot be given a system prompt: its chat template has no such role, or "
            "changes it. Name another model, or a file with a template that has one "
            "(--chat-template FILE)."
        ) from error


def prompts_by_length(
    model: LanguageModel, kinds: Mapping[str, Sequence[str]], matched: Sequence[str]
) -> list[SystemPrompt]:
    """The wordings of each kind, each with the one of `matched` whose number of tokens is nearest
    (of equals the first).
    """
    texts = list(dict.fromkeys([text for each in kinds.values() for text in each] + [*matched]))
    encoded = model.tokenizer(texts, add_special_tokens=False)["input_ids"]
    length = {text: len(ids) for text, ids in zip(texts, encoded, strict=True)}
    found = []
    for kind, wordings in kinds.items():
        for text in wordings:
            near = min(matched, key=lambda one: abs(length[one] - length[text]))
            found.append(SystemPrompt(kind, text, near, length[text], length[near]))
    return found


def read_under(
    model: LanguageModel,
    items: Sequence[Stimulus],
    systems: Sequence[str],
    directions: Mapping[str, Direction],
) -> dict[str, Float[np.ndarray, "text emotion"]]:
    """What the text's last token projects on each direction under each system prompt, in natural
    lengths. The directions are all of one site; a conversation's own system turn is replaced.

    Raises `UsageError` as `require_system_role` does, and as `capture`.
    """
    require_system_role(model)
    (site,) = {one.site for one in directions.values()}
    told = {
        system: [_under(system, f"{place}-{at}", item) for at, item in enumerate(items)]
        for place, system in enumerate(systems)
    }
    every = Battery("under system prompts", tuple(one for own in told.values() for one in own))
    vectors = np.stack([one.vector / one.length for one in directions.values()], axis=1)
    with capture(model, every, sites=[site], positions=(LAST,)) as store:
        read = store.read(site)
        return {
            system: read.select(one.id for one in own).astype(np.float64) @ vectors
            for system, own in told.items()
        }


def _under(system: str, name: str, item: Stimulus) -> Stimulus:
    prompt = prompt_of(item.text, item.fields, name=item.id)
    turns = [one for one in as_messages(prompt, name=item.id) if one["role"] != SYSTEM]
    return Stimulus(
        name, item.text, item.emotion, group=item.group, fields={FIELD: [_system(system), *turns]}
    )


def _system(content: str) -> Message:
    return {"role": SYSTEM, "content": content}

"""What a study asks of a linear probe, in words."""

_DOES = {
    "reception": "tells emotional texts from their neutral twins",
    "categorisation": "tells which emotion a text is about",
}

PROBE_TASKS = tuple(_DOES)
"""The questions that a study asks of a probe."""


def does(task: str) -> str:
    """What a probe does that answers `task`."""
    return _DOES.get(task, f"tells the {task.replace('.', ' ')} of a text")


def claim_of(task: str) -> str:
    """What is claimed where a probe answers `task`."""
    return f"a linear probe {does(task)}, beyond the words"

"""Whatever bytes come, reading ends in a battery or in an error of ours, and what it says is safe
to print.
"""

import random
from pathlib import Path

import pytest

import stimuli
from interp.errors import InterpError

SEEDS = {
    "ours.jsonl": b'{"id": "a", "text": "x y", "emotion": "joy", "arm": "keyword_free", '
    b'"pair": "p"}\n{"id": "b", "text": "x z", "emotion": "neutral", "arm": "neutral", '
    b'"pair": "p", "n": [1, {"k": null}]}\n',
    "aipsy.csv": b"id,emotion,text,matched_control_id,domain,domain_label,split\n"
    b"1,rage,x,2,1,d,clinical\n2,neutral,y,1,1,d,neutral\n",
    "sev.jsonl": b'{"theme": "t", "scenario": "s", "skeleton_id": 1, '
    b'"event": {"positive": "a", "neutral": "b", "negative": "c"}}\n',
    "affect.jsonl": b'{"id": "B-1", "text": "x", "emotion": "rage", '
    b'"stimulus_set": "B_clinical", "matched_control_id": null}\n',
    "anger.json": b'["You wait.", "You wait again."]',
    "go.tsv": b"ok\t2\tid0\nx\t3\tid1\ny\t27\tid2\n",
    "plain.csv": b'text,emotion,note\n"a, b",joy,"c\nd"\n',
}
PIECES = b'\0 \xff " { [ ] } , \t \n \r null 3.7 true \\ud800 \xef\xbb\xbf'.split(b" ")


def told(path: Path) -> str | None:
    """What the file was refused with, or None when it loads."""
    try:
        stimuli.load(path)
    except InterpError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", SEEDS)
def test_mutated_files_end_in_a_battery_or_an_error_of_ours(tmp_path: Path, name: str) -> None:
    draw = random.Random(name)
    outcomes = []
    for trial in range(150):
        data = bytearray(SEEDS[name])
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(data) + 1)
            data[at : at + draw.randint(0, 6)] = draw.choice(PIECES)
        path = tmp_path / f"{trial}-{name}"
        path.write_bytes(bytes(data))
        outcomes.append(told(path))
    refusals = [message for message in outcomes if message is not None]
    assert all(message.isprintable() for message in refusals), [
        m for m in refusals if not m.isprintable()
    ]
    assert 0 < len(refusals) < 150

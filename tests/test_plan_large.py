"""The script that plans a large capture: bytes are those of the arrays, shards are as
large as asked.
"""

import json
import runpy
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "scripts" / "plan_large"


def test_the_plan_counts_bytes_and_shards(monkeypatch, capsys):
    def planned(*words: str) -> dict[str, dict]:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--texts", "40", "--json", *words])
        runpy.run_path(str(SCRIPT), run_name="__main__")
        return json.loads(capsys.readouterr().out)

    chosen, small = planned(), planned("--shard-mb", "16")
    five = "five residual sites of all layers, last and mean, float32"
    assert chosen[five]["bytes"] == 40 * 5 * 80 * 2 * 8192 * 4
    assert chosen["the same, float16"]["bytes"] * 2 == chosen[five]["bytes"]
    last = "`resid_post` of all layers, last token, float16"
    assert chosen[last]["shards"] == 1
    assert small[last]["shards"] == 7  # a text is 2.5 MiB as float32: six in 16 MiB
    assert chosen[last]["rows"] == 40

"""Tokens of thousands of texts stream to the disk: memory does not grow with the battery."""

import json
import subprocess
import sys

import pytest

TEXTS = 5_000
WITHIN_MB = 1024

PROGRAM = """
import json, math, re, sys
from pathlib import Path
from support.capture_cases import WORDS, capture
from interp.models import load
from stimuli.battery import Battery, Stimulus

def peak(key):
    return int(re.findall(key + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[0]) / 1024

model = load(sys.argv[1], check=False)
words = [word for word in dict.fromkeys(WORDS) if word.isalpha()]
def text(n):
    return " ".join(words[(n + 7 * k) % len(words)] for k in range(20 + n % 41))

texts = [text(n) for n in range(int(sys.argv[3]))]
battery = Battery("many", tuple(Stimulus(f"t{n}", text, "joy") for n, text in enumerate(texts)))
loaded = peak("VmRSS")
sites = "resid_pre resid_mid resid_post attn_out mlp_out q k v z pre post".split()
how = {"sites": sites, "positions": ("all",), "storage": "float16"}
with capture(model, battery, out=sys.argv[2], **how) as store:
    tokens = sum(len(piece.x) for piece in store.stream("blocks.1.hook_resid_post"))
    shapes = [next(store.stream(site)).x.shape[1:] for site in store.sites]
    widths = sum(4 * math.prod(shape) for shape in shapes)
grown = peak("VmHWM") - loaded
print(json.dumps({"grown": grown, "whole": tokens * widths / 1e6, "texts": len(store.items)}))
"""


@pytest.mark.slow
def test_five_thousand_texts_token_by_token_fit_in_a_gigabyte(tiny_folder, tmp_path, request):
    command = [
        sys.executable,
        "-c",
        PROGRAM,
        str(tiny_folder("gpt2")),
        str(tmp_path / "run"),
        str(TEXTS),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=request.path.parent
    )
    told = json.loads(done.stdout)
    assert told["texts"] == TEXTS
    assert told["whole"] > 1.1 * WITHIN_MB, "the captured arrays would fit: the test could not fail"
    assert told["grown"] < WITHIN_MB

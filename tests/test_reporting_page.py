"""The page as a reader meets it: twins with their edit marked, cautions in their places, readable
colours, and no width that a phone lacks.
"""

import json
import re
import subprocess
from dataclasses import replace
from importlib import resources
from itertools import pairwise

import pytest

from interp.records import RunRecord
from interp.reporting.figures import draw_all
from interp.reporting.finding import Caution, Question
from interp.reporting.findings import findings, warned
from interp.reporting.report import FOREMOST, write_report
from interp.reporting.twins import marked
from support.chromium import CHROMIUM, needs_chromium
from support.report_pages import Page, folder, page
from support.reporting_tables import EMOTIONS, MAKERS, RECORD, all_tables

TABLES = all_tables(EMOTIONS[:2])
CSS = resources.files("interp.reporting").joinpath("report.css").read_text(encoding="utf-8")
EXAMPLE = {
    "emotion": "joy",
    "affective": "Anna found the lost ring, at last.",
    "neutral": "Anna saw the old ring, at last.",
}


def recorded(**provenance) -> RunRecord:
    return replace(RECORD, provenance={**RECORD.provenance, **provenance})


def test_the_words_that_a_twin_lacks_are_marked():
    affective, neutral = marked(EXAMPLE["affective"], EXAMPLE["neutral"])
    assert [piece.text for piece in affective if piece.edited] == ["found", "lost"]
    assert [piece.text for piece in neutral if piece.edited] == ["saw", "old"]
    assert "".join(piece.text for piece in affective) == EXAMPLE["affective"]
    assert "".join(piece.text for piece in neutral) == EXAMPLE["neutral"]
    assert [piece.edited for piece in marked("same", "same")[0]] == [False]
    longer, shorter = marked("No, not him.", "No.")
    assert [piece.text for piece in longer if piece.edited] == [", not him"]
    assert not [piece for piece in shorter if piece.edited]


def test_the_page_shows_the_twins_that_the_record_keeps(tmp_path):
    path = folder(tmp_path / "out", {"probes": TABLES["probes"]}, recorded(examples=[EXAMPLE]))
    text = write_report(path).read_text(encoding="utf-8")
    assert "Anna <mark>found</mark> the <mark>lost</mark> ring, at last." in text
    assert "Anna <mark>saw</mark> the <mark>old</mark> ring, at last." in text
    assert '<a href="#twins">' in text
    assert "provenance.examples" not in text


def test_a_run_of_an_older_interp_still_has_its_page(tmp_path):
    """Neither answer, verdict, examples, preset nor readout stand in its record."""
    path = folder(tmp_path / "out", TABLES)
    older = json.loads((path / "run.json").read_text())
    del older["answer"], older["verdict"]
    (path / "run.json").write_text(json.dumps(older))
    found = page(path)
    assert "In storyworld, a linear probe tells emotional texts" in found.text
    assert "What the texts are like" not in found.text
    assert found.text.count("yes") >= 4


def test_hostile_twins_and_names_are_text_in_every_new_place(tmp_path):
    evil = "<img src=x onerror=alert(1)>"
    pair = {"emotion": evil, "affective": f"{evil} a\u202eb", "neutral": "{{ 7 * 7 }} </dd>"}
    record = replace(
        recorded(examples=[pair]), model=evil, warnings=(evil, f"probes: reception: {evil}")
    )
    found = page(folder(tmp_path / "out", {"probes": MAKERS["probes"]()}, record))
    assert not [tag for tag, _ in found.tags if tag in ("img", "script")]
    assert not [name for _, given in found.tags for name in given if name.startswith("on")]
    assert f"In {evil}, a linear probe" in found.text
    assert "a⟨U+202E⟩b" in found.text
    assert "{{7*7}}</dd>" in found.text.replace(" ", "")  # in pieces, some of them marked


def test_a_warning_stands_with_the_stage_and_the_part_that_it_begins_with():
    told = findings({"probes": TABLES["probes"]})
    given = [
        "probes: reception: few items",
        "probes: 2 features are constant",
        "cosines: one is missing",
        "capture: a chat model",
        "12 texts hold an emotion word.",
        "steering was not run: no words",
    ]
    assert warned(given, told) == [
        Caution("probes", "few items", "reception"),
        Caution("probes", "2 features are constant"),
        Caution("directions", "one is missing"),
        Caution("", "a chat model"),
        Caution("", "12 texts hold an emotion word."),
        Caution("", "steering was not run: no words"),
    ]


def test_three_cautions_stand_beside_the_answer_and_the_rest_beside_their_stages(tmp_path):
    stages = ("probes", "directions", "ablation", "patching", "steering")
    given = tuple(f"{stage}: doubt {at} of {stage}" for stage in stages for at in (1, 2))
    record = replace(RECORD, warnings=(*given, "a doubt of the whole run"))
    found = page(folder(tmp_path / "out", TABLES, record))
    above, below = found.text.split("Contents", 1)
    first = re.findall(r"doubt (\d) of (\w+)", above)
    assert first == [("1", "probes"), ("1", "ablation"), ("1", "steering")]
    assert len(first) == FOREMOST
    assert "a doubt of the whole run" in above
    assert "11 more stand beside their stages" in above  # four of them by tables of their own
    assert "a doubt of the whole run" not in below
    assert all(below.count(f"doubt {at} of {stage}") == 1 for stage in stages for at in (1, 2))
    ids = {given["id"] for _, given in found.tags if "id" in given}
    assert {f"cautions-{stage}" for stage in stages} <= ids


def test_every_number_of_the_summary_has_its_verdict(tmp_path):
    text = write_report(folder(tmp_path / "out", TABLES)).read_text(encoding="utf-8")
    table = text.split('<table class="summary">')[1].split("</table>")[0]
    rows = table.split("<tr>")[2:]
    told = findings(TABLES)
    assert len(rows) == len(told)
    for row, finding in zip(rows, told, strict=True):
        assert f"</span> {finding.verdict}</span>" in row
        assert f">{finding.value}</span>" in row


def test_what_is_long_is_folded(tmp_path):
    found = page(folder(tmp_path / "out", TABLES, recorded(ids=["x" * 20] * 9)))
    assert not [given for tag, given in found.tags if tag == "details" and "open" in given]
    short = page(folder(tmp_path / "short", TABLES, replace(RECORD, warnings=("probes: a doubt",))))
    opened = [given for tag, given in short.tags if tag == "details" and "open" in given]
    assert opened == [{"class": "open-in-print", "open": None}]


THEMES = re.findall(r":root \{([^}]*)\}", CSS)
ON = {
    "--paper": ("--ink", "--soft", "--link", "--warn", "--yes", "--no"),
    "--tint": ("--ink", "--soft", "--link", "--warn", "--yes", "--no"),
    "--warn-tint": ("--ink", "--soft", "--link", "--warn"),
    "--mark": ("--ink",),
}
"""Which colours are written on which."""


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_black_on_white_has_the_contrast_of_the_standard():
    assert (luminance("#ffffff") + 0.05) / (luminance("#000000") + 0.05) == pytest.approx(21)


@pytest.mark.parametrize("theme", THEMES, ids=["light", "dark", "print"])
def test_all_that_is_written_can_be_read(theme):
    colours = dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6});", theme))
    for ground, inks in ON.items():
        for ink in inks:
            lighter, darker = sorted(
                (luminance(colours[ground]), luminance(colours[ink])), reverse=True
            )
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (ink, ground)


def test_every_colour_is_one_of_the_theme():
    without = re.sub(r":root \{[^}]*\}", "", CSS).replace("background: #ffffff", "")
    assert not re.findall(r"#[0-9a-fA-F]{3,8}\b|rgb|hsl", without)  # white: a figure's paper


def test_nothing_but_a_figure_that_scrolls_is_wider_than_a_phone():
    wide = [
        (selector.strip().split("}")[-1].split("{")[-1].strip(), float(size) * per[unit])
        for selector, block in re.findall(r"([^{}]+)\{([^{}]*)\}", CSS)
        for per in ({"rem": 16, "px": 1},)
        for size, unit in re.findall(r"(?<!max-)(?:min-)?width: ([\d.]+)(rem|px)", block)
        if "@media" not in selector
    ]
    assert ("figure img", 704.0) in wide
    assert [name for name, pixels in wide if pixels > 360 and name != "figure img"] == []


def test_a_sheet_of_paper_does_not_get_the_layout_of_a_phone():
    """A4 is narrower than the bound below which rows become cards and figures scroll."""
    assert re.findall(r"@media [^{]*max-width[^{]*", CSS) == [
        "@media screen and (max-width: 48rem) "
    ]


FRAME = """<!DOCTYPE html><iframe src="report.html" style="width:{width}px;height:900px;border:0">
</iframe><pre></pre><script>
document.querySelector("iframe").onload = function () {{
  const page = this.contentDocument, root = page.documentElement, out = [];
  page.querySelectorAll("details").forEach(one => one.open = true);
  page.querySelectorAll("body *").forEach(one => {{
    if (!one.closest(".scroll") && one.getBoundingClientRect().right > root.clientWidth + 1)
      out.push(one.tagName + "." + one.className);
  }});
  const told = {{paper: getComputedStyle(page.body).backgroundColor, out: out,
    scroll: root.scrollWidth, client: root.clientWidth,
    images: [...page.images].filter(one => one.naturalWidth > 0).length}};
  document.querySelector("pre").textContent = JSON.stringify(told);
}};</script>"""


@needs_chromium
@pytest.mark.parametrize(
    ("width", "dark"), [(400, False), (400, True), (1280, False)], ids=["phone", "dark", "desk"]
)
def test_a_browser_shows_the_page_without_scrolling_sideways(tmp_path, width, dark):
    evil = "a_very_long_label_without_a_space_" * 8
    pair = {"emotion": evil, "affective": f"{evil} one", "neutral": f"{evil} two"}
    record = replace(recorded(examples=[pair], ids=[evil] * 3), model=evil, warnings=(evil,))
    path = folder(tmp_path / "out", all_tables((EMOTIONS[0], "x" * 60)), record)
    draw_all({"probes": TABLES["probes"]}, path / "figures")
    write_report(path)
    (path / "frame.html").write_text(FRAME.format(width=width))
    asked = ["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    asked += ["--virtual-time-budget=5000", f"--user-data-dir={tmp_path / 'profile'}"]
    asked += [f"--window-size={width + 100},1000", "--dump-dom", "--enable-logging=stderr"]
    asked += [f"--blink-settings=preferredColorScheme={int(not dark)}"]
    asked += [(path / "frame.html").as_uri()]
    done = subprocess.run([str(CHROMIUM), *asked], capture_output=True, text=True, check=True)
    assert ":CONSOLE:" not in done.stderr, done.stderr
    (told,) = re.findall(r"<pre>(\{.*\})</pre>", done.stdout)
    seen = json.loads(told)
    assert seen["out"] == []
    assert seen["scroll"] == seen["client"]
    assert seen["images"] > 2
    paper = [int(part) for part in re.findall(r"\d+", seen["paper"])[:3]]
    assert (max(paper) < 64) if dark else (min(paper) > 224)


@needs_chromium
def test_a_browser_prints_the_page_on_sheets_without_an_error(tmp_path):
    path = folder(tmp_path / "out", TABLES)
    draw_all(TABLES, path / "figures")
    write_report(path)
    asked = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    asked += [f"--user-data-dir={tmp_path / 'profile'}", "--no-pdf-header-footer"]
    asked += [f"--print-to-pdf={tmp_path / 'page.pdf'}", (path / "report.html").as_uri()]
    done = subprocess.run([str(CHROMIUM), *asked], capture_output=True, text=True, check=True)
    assert ":CONSOLE:" not in done.stderr, done.stderr
    sheets = re.findall(rb"/Type /Page\b", (tmp_path / "page.pdf").read_bytes())
    assert 5 <= len(sheets) <= 40


def test_the_badges_link_to_their_sections(tmp_path):
    path = folder(tmp_path / "out", TABLES)
    text = write_report(path).read_text(encoding="utf-8")
    badges = text.split('<ul class="badges">')[1].split("</ul>")[0].split("<li")[1:]
    assert len(badges) == len(Question)
    assert [re.search(r'href="#(\w+)"', one)[1] for one in badges] == [
        "probes",
        "probes",
        "ablation",
        "steering",
    ]
    assert all('class="yes"' in one for one in badges)
    parsed = Page(text)
    levels = [int(tag[1]) for tag, _ in parsed.tags if re.fullmatch(r"h\d", tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels))

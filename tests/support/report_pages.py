"""Results folders and the pages drawn from them, for the tests of the report."""

from html.parser import HTMLParser
from pathlib import Path

import pandas as pd

from interp.records import RunRecord
from interp.reporting.report import write_report
from interp.results import write_table
from support.reporting_tables import RECORD

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Collects tags, attributes and text, and checks that every tag is closed where it should
    be.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def folder(path: Path, tables: dict[str, pd.DataFrame], record: RunRecord = RECORD) -> Path:
    (path / "tables").mkdir(parents=True)
    for name, table in tables.items():
        write_table(table, path / "tables" / f"{name}.csv")
    record.write(path / "run.json")
    return path


def page(path: Path) -> Page:
    return Page(write_report(path).read_text(encoding="utf-8"))

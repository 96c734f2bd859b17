"""What the tests of chat templates share: a text, a conversation, and the tiny chat model under
another template.
"""

from pathlib import Path

from interp.models import LanguageModel, load

TEXT = "Anna lost the old dog , and cried ."
TALK = [
    {"role": "system", "content": "We are calm ."},
    {"role": "user", "content": "The dog ran away"},
    {"role": "assistant", "content": " \nIt was a good dog .\n"},
    {"role": "user", "content": "The dog ran away"},
]


def turn(content: str) -> list[dict[str, str]]:
    """A text as the one user turn that it is."""
    return [{"role": "user", "content": content}]


def written(folder: Path, tmp_path: Path, template: str) -> LanguageModel:
    """The model in `folder` under another template, which lies in a file."""
    path = tmp_path / "other.jinja"
    path.write_text(template, encoding="utf-8")
    return load(str(folder), chat_template=str(path), check=False)

"""The page: what a person may set, and which piece of it each answer fills. It is made of Gradio,
and nothing else here knows of it.
"""

from collections.abc import Callable, Sequence
from html import escape
from importlib import resources
from typing import Any

import gradio as gr

from interp.causal.steps import UNITS
from interp.play.answers import Answers
from interp.reporting.formatting import visible

MOST_WEIGHT = 3.0
"""How far a slider goes, both ways, in units of strength."""

LOOK: dict[str, Any] = {
    "theme": gr.themes.Base(
        font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace")
    ),
    "css": resources.files("interp.play").joinpath("page.css").read_text(encoding="utf-8"),
    "footer_links": [],
}
"""How the page is mounted: no font is fetched, and nothing links out of it."""

SAYS = (
    "One text proves nothing. `interp evaluate-steering` measures what these directions do, beside "
    "random ones and an instruction in words, with intervals. A reading is a place along a "
    "direction, not a feeling."
)


def build_page(answers: Answers) -> gr.Blocks:
    """The page on which these answers are asked for."""
    desk = answers.desk
    with gr.Blocks(analytics_enabled=False, title=f"interp play: {desk.model.name}") as page:
        gr.HTML(f"<h1>interp play: {escape(visible(desk.model.name))}</h1>")
        gr.Markdown(SAYS)
        text = gr.Textbox(label="Text", lines=3, elem_id="text")
        with gr.Row():
            layer = _dropdown("layer", "Layer of the directions", [*desk.sources], desk.layer)
            unit = gr.Radio(UNITS, value=desk.manner.unit, label="What 1 on a slider is")
        doubts = gr.HTML(elem_id="doubts")
        with gr.Row():
            sliders = [_slider(emotion) for emotion in desk.emotions]
        with gr.Row():
            write = gr.Button("Write on", variant="primary", elem_id="write")
            read = gr.Button("Read", variant="primary", elem_id="read")
        priced = gr.Checkbox(label="Say what writing costs (slower)", elem_id="priced")
        written, tokens = gr.HTML(elem_id="written"), gr.HTML(elem_id="tokens")
        with gr.Row():
            label = "Emotion of the map and of the file"
            emotion = _dropdown("emotion", label, desk.emotions, desk.emotions[0])
            download = gr.DownloadButton("Download the direction", elem_id="download")
        pictures = gr.HTML(elem_id="pictures")

        def at_layer(chosen: int) -> list[Any]:
            can = answers.can_steer(chosen).values()
            return [answers.doubts(chosen), *(gr.update(interactive=one) for one in can)]

        def file(asked: str, chosen: int) -> Any:
            path = answers.file(asked, chosen)
            return gr.update(value=None if path is None else str(path), interactive=bool(path))

        _wire(write.click, answers.write, [text, layer, unit, priced, *sliders], [written])
        _wire(read.click, answers.read, [text, layer, emotion], [tokens, pictures])
        for changed in (layer.change, emotion.change):
            _wire(changed, answers.read_again, [text, layer, emotion], [tokens, pictures])
        for begun in (page.load, layer.change):
            _wire(begun, at_layer, [layer], [doubts, *sliders])
        for begun in (page.load, layer.change, emotion.change):
            _wire(begun, file, [emotion, layer], [download])
    return page


def _dropdown(name: str, label: str, choices: Sequence[Any], value: Any) -> gr.Dropdown:
    return gr.Dropdown(choices, value=value, label=label, elem_id=name, filterable=False)


def _slider(emotion: str) -> gr.Slider:
    return gr.Slider(
        -MOST_WEIGHT,
        MOST_WEIGHT,
        value=0,
        step=0.1,
        label=emotion,
        elem_id=f"weight-{emotion}",
        min_width=200,
    )


def _wire(event: Callable[..., Any], answer: Callable[..., Any], given: Any, fills: Any) -> None:
    event(answer, given, fills, api_visibility="private", show_progress="minimal")

"""The report's words, each told in a line."""

GLOSSARY: tuple[tuple[str, str], ...] = (
    (
        "twins",
        "A text that evokes an emotion, and the same scene made neutral by a small edit.",
    ),
    ("scenario", "The scene that twins tell: the unit that is resampled and never parted."),
    (
        "reception",
        "The question whether a text is emotional or its neutral twin.",
    ),
    ("categorisation", "The question which emotion a text is about."),
    (
        "transfer",
        "Fitting a probe on one kind of text and testing it on another, of other scenarios.",
    ),
    (
        "arm",
        "A way in which a scenario is told: naming the feeling (keyword_rich), not naming it "
        "(keyword_free), mildly (moderate), strongly (strong), or without any feeling (neutral).",
    ),
    (
        "AUROC",
        "How often the higher score is that of the right text: 0.5 is chance, 1 is without error.",
    ),
    (
        "interval",
        "The two numbers in brackets: 95 % of such intervals hold the true value. A range of "
        "random draws stands in its place where the text says so.",
    ),
    (
        "text-only baseline",
        "A classifier that sees the words and never the model. What it reaches, the words give "
        "away.",
    ),
    (
        "max-T",
        "A p-value that allows for all places that were tried: how often the best place of a study "
        "without any effect would be this good.",
    ),
    (
        "learned by heart",
        "What the same probe reaches on labels drawn at random for each scenario: the room it has "
        "to memorise.",
    ),
    (
        "stream, resid_post",
        "The residual stream: what all layers read and write; resid_post is what it holds behind a "
        "layer. Layers are counted from 0.",
    ),
    (
        "patching",
        "Putting one activation of one text into the run of its twin. Denoise: from the emotional "
        "text into the neutral one. Noise: the other way round.",
    ),
    (
        "attribution",
        "An estimate of what patching a part would do, by the gradient: a straight line where the "
        "model bends. The exact patch stands beside it.",
    ),
    (
        "at last, at edit",
        "Where a patch is put: at the text's last token, or at the tokens in which the twins "
        "differ.",
    ),
    (
        "restoration",
        "The share of the twins' difference that a patch moves: 0 nothing, 1 all of it.",
    ),
    (
        "ablation",
        "Silencing parts of the model: here by giving them what they hold in another text.",
    ),
    (
        "circuit",
        "A small set of heads and neurons, chosen to carry an emotion.",
    ),
    (
        "faithfulness",
        "The share of what the whole model does that is left when only the circuit is kept: 1 all, "
        "0 nothing. CPR is its mean over sizes of the circuit.",
    ),
    (
        "natural length",
        "The distance between emotional texts and their twins along the direction, on scenarios "
        "that did not make it. Strength 1 of steering adds this much.",
    ),
    (
        "nats",
        "The unit of a natural logarithm of a probability: 0.1 nats more is 11 % likelier.",
    ),
    (
        "cosine between halves",
        "How alike the directions of two halves of the scenarios are: 1 the same, 0 unrelated.",
    ),
)
"""Term and meaning, in the order of the page."""

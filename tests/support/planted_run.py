"""A planted model run without interp's own methods: one Hugging Face forward over its battery, read
by torch hooks.
"""

from functools import cache

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from interp.sites import Site
from interp.testbeds import planted
from interp.testbeds.planted import PlantedSpec

SPEC, NULL = planted.SPECS["planted"], planted.SPECS["planted_null"]
OTHER = PlantedSpec(
    n_layers=6,
    n_heads=6,
    d_head=24,
    d_mlp=96,
    emotions=("joy", "fear", "anger"),
    neurons=2,
    words=15,
    seed=3,
)
FINAL = Site("resid_post", SPEC.n_layers - 1)


@cache
def built(spec):
    return planted.build(spec)


@cache
def battery(spec):
    return planted.stimuli(spec, n=spec.words)


@cache
def clean(spec):
    return Run(spec)


class Run:
    """One forward over a spec's battery: what each place held at the last token, as `self.at[kind,
    layer]`.
    """

    def __init__(self, spec, edit=None):
        self.spec, self.items = spec, battery(spec).items
        self.place = {item.id: i for i, item in enumerate(self.items)}
        self.model, tokenizer = built(spec)
        batch = tokenizer(
            [i.text for i in self.items], return_tensors="pt", padding=True, padding_side="right"
        )
        self.last, self.at = batch["attention_mask"].sum(1) - 1, {}
        handles = [edit(self)] if edit else []
        for layer, block in enumerate(self.model.transformer.h):
            handles.append(block.register_forward_hook(self._keep("resid_post", layer)))
            handles.append(block.attn.c_proj.register_forward_pre_hook(self._keep("z", layer)))
            handles.append(block.mlp.c_proj.register_forward_pre_hook(self._keep("post", layer)))
        try:
            with torch.inference_mode():
                self.logits = self._pick(self.model(**batch).logits)
        finally:
            for handle in handles:
                handle.remove()

    def _pick(self, x):
        return x[torch.arange(len(x)), self.last].double().numpy()

    def _keep(self, kind, layer):
        def hook(_, *values):
            taken = values[-1]
            self.at[kind, layer] = self._pick(taken[0] if isinstance(taken, tuple) else taken)

        return hook

    def differences(self, values, emotion):
        pairs = [p for p in battery(self.spec).pairs() if p.affective.emotion == emotion]
        return np.stack(
            [values[self.place[p.affective.id]] - values[self.place[p.neutral.id]] for p in pairs]
        )

    def direction(self, layer, emotion, sign=1.0):
        mean = np.mean(
            self.differences(self.at["resid_post", layer], emotion) * np.reshape(sign, (-1, 1)),
            axis=0,
        )
        return mean / np.linalg.norm(mean)

    def contributions(self, kind, v, emotion):
        """Mean paired contribution of every head (kind z) or neuron (post) to v, as {(layer,
        index): value}.
        """
        found = {}
        for layer, block in enumerate(self.model.transformer.h):
            module = block.attn if kind == "z" else block.mlp
            each = self.at[kind, layer] * (module.c_proj.weight.detach().double().numpy() @ v)
            if kind == "z":
                each = each.reshape(len(each), self.spec.n_heads, -1).sum(-1)
            found |= {
                (layer, i): value for i, value in enumerate(self.differences(each, emotion).mean(0))
            }
        return found


def auroc(scores, planted_ones):
    return roc_auc_score([key in planted_ones for key in scores], list(scores.values()))

"""Hugging Face's own model with a vector added at some positions, to hold steering against."""

from collections.abc import Collection, Sequence

import numpy as np
import torch

from interp.models import LanguageModel


class SteeredLlama:
    """Hugging Face's own Llama, to whose block 0 a vector is added at some positions."""

    def __init__(
        self, model: LanguageModel, vector: torch.Tensor, positions: Collection[int]
    ) -> None:
        self.hf, self.vector, self.positions = model.plain().eval(), vector, positions

    def __call__(self, ids: Sequence[int]) -> tuple[torch.Tensor, np.ndarray]:
        """The logits behind the last token, and what stands behind block 1 at each."""

        def push(module, inputs, output):  # type: ignore[no-untyped-def]
            hidden = (output[0] if isinstance(output, tuple) else output).clone()
            for at in range(hidden.shape[1]):
                if at in self.positions:
                    hidden[:, at] += self.vector
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        handle = self.hf.model.layers[0].register_forward_hook(push)
        with torch.no_grad():
            out = self.hf(torch.tensor([list(ids)]), output_hidden_states=True)
        handle.remove()
        return out.logits[0, -1], out.hidden_states[2][0].numpy()

"""Plain: what a model computes, asked of Hugging Face's own modules by forward hooks of torch.

Nothing here touches TransformerLens or a site: it is what `interp.evaluation.comparisons` holds the
methods against. Modules are found by what runs, not by their names: the list of blocks, in each
block the attention, and the last linear map that writes to the stream in the attention and in the
MLP. Texts run alone, whole, and without padding, mask or cache.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from interp.errors import InternalError

Change = Callable[[Tensor], Tensor]
Changes = Sequence[tuple[nn.Module, Change]]
"""Modules, and what is to become of what they give or take."""


class Writers(NamedTuple):
    """A block's modules whose output is what attention and MLP write; `experts`: the second is a
    whole mixture, not one matrix.
    """

    attention: nn.Module
    mlp: nn.Module
    experts: bool


class Plain:
    """A Hugging Face model with questions. `n_layers` blocks of width `d_model`."""

    def __init__(self, model: PreTrainedModel, *, n_layers: int, d_model: int) -> None:
        self.model, self.d_model = model.eval(), d_model
        lists = [one for one in model.modules() if isinstance(one, nn.ModuleList)]
        self.blocks = next(one for one in lists if len(one) == n_layers)
        self.writers = [self._find_writers(block) for block in self.blocks]

    def logits(self, ids: Sequence[int]) -> Float[Tensor, "pos d_vocab"]:
        """Logits behind each token."""
        with torch.no_grad():
            found: Tensor = self.model(torch.tensor([list(ids)]), use_cache=False).logits
        return found[0].float()

    def stream(self, ids: Sequence[int]) -> list[Float[Tensor, "pos d_model"]]:
        """The residual stream behind each block."""
        kept: dict[Any, Tensor] = {}
        with self.changed([(block, keep(kept, i)) for i, block in enumerate(self.blocks)]):
            self.logits(ids)
        return [kept[layer][0].float() for layer in range(len(self.blocks))]

    @contextmanager
    def changed(self, outputs: Changes, inputs: Changes = ()) -> Iterator[None]:
        """While open, what these modules give (or take) is changed."""

        def after(change: Change) -> Callable[..., Any]:
            def hook(module: nn.Module, given: Any, output: Any) -> Any:
                if isinstance(output, Tensor):
                    return change(output)
                return (change(output[0]), *output[1:])

            return hook

        def before(change: Change) -> Callable[..., Any]:
            return lambda module, given: (change(given[0]), *given[1:])

        handles = [module.register_forward_hook(after(change)) for module, change in outputs]
        handles += [module.register_forward_pre_hook(before(change)) for module, change in inputs]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def added(self, ids: Sequence[int], layer: int, kind: str) -> Float[Tensor, "pos d_model"]:
        """What "attention" or "mlp" of a block adds to the stream: how the stream behind the block
        changes when it writes nothing, all else in the block as it was.
        """
        writer = getattr(self.writers[layer], kind)
        return self._taken(ids, layer, kind, outputs=[(writer, torch.zeros_like)])

    def part(
        self,
        ids: Sequence[int],
        layer: int,
        kind: str,
        units: slice,
        *,
        frozen: bool,
    ) -> Float[Tensor, "pos d_model"]:
        """What the stream lacks without some of the numbers that enter the matrix of "attention" or
        "mlp". `frozen`: a norm behind it divides by what it divided by with them.

        The numbers are those of the precision that is run; what comes of them is computed in
        float32, so that a small part is not lost in the rounding of a large stream.
        """
        entered, _ = self._through(ids, getattr(self.writers[layer], kind))
        exact = self._exact
        writer = getattr(exact.writers[layer], kind)
        with exact.changed((), [(writer, lambda x: entered.float())]):
            out = [(writer, without(units))]
            return exact._taken(ids, layer, kind, inputs=out, frozen=frozen)

    @cached_property
    def _exact(self) -> "Plain":
        """The same weights, computing in float32."""
        model: Any = self.model
        if model.dtype == torch.float32:
            return self
        wider = copy.deepcopy(model).float()
        return Plain(wider, n_layers=len(self.blocks), d_model=self.d_model)

    def _taken(
        self,
        ids: Sequence[int],
        layer: int,
        kind: str,
        *,
        outputs: Changes = (),
        inputs: Changes = (),
        frozen: bool = False,
    ) -> Float[Tensor, "pos d_model"]:
        """The stream behind a block, less the same under changes that reach it through `kind`."""
        gave, took = self._held(ids, layer, kind, frozen=frozen)
        with self.changed(gave, took):
            whole = self.stream(ids)[layer]
        with self.changed([*outputs, *gave], [*inputs, *took]):
            return whole - self.stream(ids)[layer]

    def _held(
        self, ids: Sequence[int], layer: int, kind: str, *, frozen: bool
    ) -> tuple[list[tuple[nn.Module, Change]], list[tuple[nn.Module, Change]]]:
        """Changes (of outputs, of inputs) that keep what is not asked about: where attention is,
        the MLP gives what it gave; with `frozen` a norm behind the writer multiplies by what it
        multiplied by.
        """
        writers = self.writers[layer]
        gave: list[tuple[nn.Module, Change]] = []
        took: list[tuple[nn.Module, Change]] = []
        if kind == "attention":
            _, wrote = self._through(ids, writers.mlp)
            gave.append((writers.mlp, lambda x: wrote.clone()))
        _, written = self._through(ids, getattr(writers, kind))
        for norm in self._norms(self.blocks[layer]) if frozen else ():
            before, after = self._through(ids, norm)
            if before.shape == written.shape and torch.equal(before, written):
                given: dict[Any, Tensor] = {}
                gain = after / torch.where(before == 0, torch.ones_like(before), before)
                took.append((norm, keep(given, "in")))
                gave.append((norm, _times(given, gain)))
        return gave, took

    def _through(self, ids: Sequence[int], module: nn.Module) -> tuple[Tensor, Tensor]:
        """What goes into a module and comes out."""
        kept: dict[Any, Tensor] = {}
        with self.changed([(module, keep(kept, "out"))], [(module, keep(kept, "in"))]):
            self.logits(ids)
        return kept["in"], kept["out"]

    def _norms(self, block: nn.Module) -> list[nn.Module]:
        return [one for one in block.modules() if type(one).__name__.endswith("Norm")]

    def _find_writers(self, block: nn.Module) -> Writers:
        """The last linear maps to the stream's width that run in the attention and behind it."""
        ran: list[nn.Module] = []
        linear = [one for one in block.modules() if isinstance(one, nn.Linear | Conv1D)]

        def note(module: nn.Module) -> tuple[nn.Module, Change]:
            def change(x: Tensor) -> Tensor:
                ran.append(module)
                return x

            return module, change

        with self.changed([note(module) for module in linear]):
            output_width = {id(one): width for one in linear if (width := _width(one))}
            self.logits([1, 2, 3])
        attention = next(one for one in block.children() if "Attention" in type(one).__name__)
        inside = {id(one) for one in attention.modules()}
        writing = [one for one in ran if output_width[id(one)] == self.d_model]
        mixture = next((one for one in block.children() if _has_experts(one)), None)
        own = [one for one in writing if id(one) in inside]
        other = [one for one in writing if id(one) not in inside]
        if not own or not (other or mixture):
            kind = type(block).__name__
            raise InternalError(f"{kind}: no matrix was seen that writes to the stream.")
        return Writers(own[-1], other[-1] if mixture is None else mixture, mixture is not None)


def keep(kept: dict[Any, Tensor], key: Any) -> Change:
    """A change that changes nothing, and puts a copy of what passes into `kept`."""

    def change(x: Tensor) -> Tensor:
        kept[key] = x.clone()
        return x

    return change


def _times(given: dict[Any, Tensor], gain: Tensor) -> Change:
    """What `keep` put into `given`, times a factor, in place of what a module gives."""
    return lambda x: given.pop("in") * gain


def without(units: slice) -> Change:
    """Zero in place of the last axis's numbers `units`."""

    def change(x: Tensor) -> Tensor:
        changed = x.clone()
        changed[..., units] = 0
        return changed

    return change


def put(position: int, value: Float[Tensor, " d_model"]) -> Change:
    """`value` in place of what stands at a position."""

    def change(x: Tensor) -> Tensor:
        changed = x.clone()
        changed[:, position] = value.to(x)
        return changed

    return change


def plus(first: int, vector: Float[Tensor, " d_model"]) -> Change:
    """`vector` added at every position from `first` on."""

    def change(x: Tensor) -> Tensor:
        changed = x.clone()
        changed[:, first:] += vector.to(x)
        return changed

    return change


def _width(module: nn.Module) -> int:
    """The width of what a linear map gives: `nf` is that of GPT-2's."""
    return int(module.nf if isinstance(module, Conv1D) else getattr(module, "out_features", 0))


def _has_experts(module: nn.Module) -> bool:
    names = (name.rpartition(".")[2] for name, _ in module.named_modules())
    return any(name in ("experts", "router") for name in names)

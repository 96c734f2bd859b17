"""PlainEngine: the Hugging Face model itself, without TransformerBridge's wrappers, around the very
same weights.

Attention takes its fast path, nothing is computed after the last wanted site, and the unembedding
never runs. Where a site lies (which module's input or output) is read off the bridge, so this
module knows no model family by name.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.activations import NewGELUActivation

from interp.errors import InternalError
from interp.models import Batch, LanguageModel
from interp.sites import Site

Sink = Callable[[Tensor], None]

_WRAPPER = "_original_component"
_JOINT = {"q": 0, "k": 1, "v": 2}


@dataclass(frozen=True, slots=True)
class Tap:
    """Where a site lies: the input or output of the module at `path`, or a third of that output
    (joint q, k, v).
    """

    path: str
    is_input: bool = False
    third: int | None = None

    def tensor(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> Tensor:
        """The tensor of the site, out of what a forward hook is given."""
        value = ([*args, *kwargs.values()]) if self.is_input else output
        tensor = (
            value
            if isinstance(value, Tensor)
            else next(item for item in value if isinstance(item, Tensor))
        )
        return tensor if self.third is None else tensor.chunk(3, dim=-1)[self.third]


class _Enough(Exception):
    """All wanted sites were seen: the rest of the forward is of no use."""


class PlainEngine:
    """The model's own modules seen through plain forward hooks.

    Raises `InternalError` when built for a site that is no module's input or output.
    """

    def __init__(self, model: LanguageModel, sites: Sequence[Site]) -> None:
        self.model = model
        self.module = unwrapped(model)
        self.name = f"plain-{self.module.config._attn_implementation}"
        self._modules = dict(self.module.named_modules())
        paths = plain_paths(model)
        self._taps = {site: find_tap(model, site, paths) for site in sites}
        missing = [
            str(site)
            for site, tap in self._taps.items()
            if tap is None or tap.path not in self._modules
        ]
        if missing:
            raise InternalError(
                f"{', '.join(missing[:3])}: no module of {model.name!r} has this as its input or "
                "output."
            )

    def run(self, batch: Batch, sinks: Mapping[Site, Sink]) -> None:
        """Run one right-padded batch (causal attention then needs no mask); every sink is called
        exactly once.
        """
        if batch.side != "right":
            raise InternalError("the plain engine needs right padding.")
        wanted = dict(sinks)
        handles = [self._attach(site, wanted) for site in sinks]
        try:
            with torch.inference_mode():
                self.module.base_model(input_ids=batch.ids.to(self.model.device), use_cache=False)
        except _Enough:
            pass
        finally:
            for handle in handles:
                handle.remove()
        if wanted:
            raise InternalError(
                f"{len(wanted)} of {len(sinks)} sites never ran: "
                f"{', '.join(map(str, list(wanted)[:5]))}."
            )

    def _attach(self, site: Site, wanted: dict[Site, Sink]) -> Any:
        tap = self._taps[site]
        assert tap is not None

        def read(module: nn.Module, args: Any, kwargs: Any, output: Any = None) -> None:
            wanted.pop(site)(self._shaped(site, tap.tensor(args, kwargs, output)))
            if not wanted:
                raise _Enough

        module = self._modules[tap.path]
        add: Callable[..., Any] = (
            module.register_forward_pre_hook if tap.is_input else module.register_forward_hook
        )
        return add(read, with_kwargs=True)

    def _shaped(self, site: Site, tensor: Tensor) -> Tensor:
        if site.name not in ("q", "k", "v", "z"):
            return tensor
        headed = tensor.unflatten(-1, (-1, self.model.dims.d_head)) if tensor.ndim == 3 else tensor
        return headed if site.head is None else headed[:, :, site.head]


def plain_paths(model: LanguageModel) -> dict[int, str]:
    """The path of each module in the Hugging Face model, by the `id` of the module that the bridge
    wraps.
    """
    bridge: Any = model.bridge
    return {id(module): path for path, module in _plain_modules(bridge.original_model)}


def find_tap(model: LanguageModel, site: Site, paths: Mapping[int, str]) -> Tap | None:
    """The plain module that a site is the input or output of; None where it has no module of its
    own.
    """
    bridge: Any = model.bridge
    point = bridge.hook_dict.get(site.hook)
    block = bridge.blocks[site.layer]
    for component in [block, *_components(block)]:
        path = paths.get(id(component.original_component))
        for attribute, is_input in (("hook_in", True), ("hook_out", False)):
            if path is not None and getattr(component, attribute, None) is point:
                return Tap(path, is_input)
    joint = block.attn.submodules.get("qkv") if site.name in _JOINT else None
    if joint is None or id(joint.original_component) not in paths:
        return None
    return Tap(paths[id(joint.original_component)], third=_JOINT[site.name])


def _components(component: Any) -> Iterator[Any]:
    """All bridge components inside a component."""
    for child in (getattr(component, "submodules", None) or {}).values():
        yield child
        yield from _components(child)


def _plain_modules(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """All modules inside `module` by their paths in the Hugging Face model: wrappers vanish, keys
    become names.

    The bridge's copies of a joint matrix's thirds (components without a name) are no modules of
    that model and stay out.
    """
    yield path, module
    parts = getattr(module, "submodules", None) or {}
    for key, child in module._modules.items():
        if child is None or (key in _JOINT and "qkv" in parts):
            continue
        name = getattr(parts.get(key), "name", None) or key
        yield from _plain_modules(child, path if key == _WRAPPER else f"{path}.{name}".lstrip("."))


def unwrapped(model: LanguageModel) -> Any:
    """A Hugging Face model without wrappers around the bridge's weights and buffers (shared, not
    copied).

    Attention is sdpa where the architecture has it and caps no scores (sdpa would drop the cap);
    its head stays empty.
    """
    if model.spread or model.quantised:
        raise InternalError(
            f"{model.name!r} is spread over devices or quantised: its weights cannot be shared "
            "with plain modules."
        )
    wrapped: Any = model.bridge.original_model
    config = type(wrapped.config).from_dict(wrapped.config.to_dict())
    softcap = getattr(config.get_text_config(), "attn_logit_softcapping", None)
    config._attn_implementation = "sdpa" if wrapped._supports_sdpa and softcap is None else "eager"
    with torch.device("meta"):
        plain = type(wrapped)(config)
    shared: dict[str, Tensor | None] = {}
    for path, module in _plain_modules(wrapped):
        shared.update(
            {
                f"{path}.{name}": tensor
                for name, tensor in [*module._parameters.items(), *module._buffers.items()]
            }
        )
    for path, module in plain.base_model.named_modules(prefix=plain.base_model_prefix):
        for tensors in (module._parameters, module._buffers):
            for name in [name for name, tensor in tensors.items() if tensor is not None]:
                tensor = shared.get(f"{path}.{name}")
                if tensor is None:
                    raise InternalError(
                        f"the weights of {model.name!r} have no {path}.{name} to share."
                    )
                tensors[name] = tensor
    _fuse_activations(plain)
    return plain.eval()


def _fuse_activations(module: nn.Module) -> None:
    """Put torch's one-pass tanh GELU where transformers writes the same formula as eight passes
    over memory.
    """
    for parent in module.modules():
        for name, child in parent.named_children():
            if isinstance(child, NewGELUActivation):
                setattr(parent, name, nn.GELU(approximate="tanh"))

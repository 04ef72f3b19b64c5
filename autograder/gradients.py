"""The check `differentiable`: what gradients flow from an answer's results back to its float tensors.

Torch notebooks train through the learner's functions, and an answer with right numbers that was cut off from its inputs
(by `.detach()`, `.item()`, a copy through NumPy) would train nothing. Runs beside the learner's code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from autograder.plain import Unreadable


def gradients_of(
    call: Callable[[Any, tuple, Mapping[str, Any]], Any],
    answer: Any,
    inputs: tuple,
    keywords: Mapping[str, Any],
    names: Iterable[str],
) -> Any:
    """Call an answer on tensors that require gradients, and return the gradients of one weighted sum of its results.

    names: the names of the positional arguments.
    Returns {"gradient of x": tensor of x's shape} for every float tensor among the arguments, 0 where nothing flows
    back; `Unreadable` if no result has a gradient at all. The weights of the sum depend on the order of the entries
    alone, so that two right answers give the same gradients.
    """
    import torch

    named = [*zip(names, inputs, strict=False), *keywords.items()]
    leaves = {path: tensor for name, value in named for path, tensor in _tensors(name, value)}
    for tensor in leaves.values():
        tensor.requires_grad_()
    with torch.enable_grad():
        terms, place = [], 0
        for _, tensor in _tensors("", call(answer, inputs, keywords)):
            if tensor.requires_grad:
                terms.append((tensor.flatten() * _weights(place, tensor)).sum().double())
            place += tensor.numel()
        if not terms or not leaves:
            return Unreadable(f"cut off from {' and '.join(leaves)}: no gradient flows back through it")
        total = torch.stack(terms).sum()
    found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    return {
        f"gradient of {path}": torch.zeros_like(leaf) if gradient is None else gradient
        for (path, leaf), gradient in zip(leaves.items(), found, strict=True)
    }


def _tensors(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The float tensors in a value, each with where it stands."""
    import torch

    if isinstance(value, torch.Tensor):
        if value.is_floating_point():
            yield path, value
    elif isinstance(value, (tuple, list)):
        for index, item in enumerate(value):
            yield from _tensors(f"{path}[{index}]", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _tensors(f'{path}["{key}"]', item)


def _weights(place: int, tensor: Any) -> Any:
    """A weight for each entry from a place on, no two alike and none near 0."""
    import torch

    return 1.5 + torch.cos(1.0 + 0.7 * torch.arange(place, place + tensor.numel(), dtype=tensor.dtype))

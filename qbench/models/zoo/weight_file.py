"""The weight files of the zoo: half-precision safetensors, written whole or not at all, checked when read.

Weights are kept in half precision and used in single precision: the rounded network *is* the float
reference, so its accuracy is the one that is measured after the round trip.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from qbench.errors import BadFile, CannotWrite

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = Path(__file__).parents[1] / "weights"


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a network's weights as safetensors: half precision, but for BatchNorm's running statistics.

    A running variance may lie below what half precision can hold, and all statistics together are
    a thousandth of the file.

    Raises:
        BadFile: a weight does not fit half precision, or is not a number.
        CannotWrite: the file cannot be written.
    """
    import torch
    from safetensors.torch import save

    kept = {}
    for name, tensor in model.state_dict().items():
        halve = tensor.is_floating_point() and not name.endswith(("running_mean", "running_var"))
        kept[name] = tensor.detach().to("cpu", torch.float16 if halve else tensor.dtype).contiguous()
        if not kept[name].isfinite().all():
            raise BadFile(
                f"{name} has values that half precision cannot hold, so {path.name} was not written",
                fix="train again with a lower learning rate: above 65,504 or NaN, it has diverged",
            )
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(save(kept))
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise CannotWrite(
            f"the weights cannot be written to {path}: {error.strerror or error}",
            fix="choose a file in a folder that can be written and has room for a few megabytes",
        ) from error


def load_weights(model: nn.Module, path: Path) -> None:
    """Fill a network with the weights of a file, in the network's own precision.

    Raises:
        BadFile: there is no such file, it is torn, or it holds the weights of another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    restore = f"restore it with `git checkout -- {path.name}` in its folder, or train it again: "
    restore += f"`python -m qbench.models.train {path.stem} --out {path.name}`"
    try:
        kept = load(path.read_bytes())
    except FileNotFoundError as error:
        raise BadFile(f"the weight file {path} is missing", fix=restore) from error
    except (OSError, SafetensorError, ValueError) as error:
        raise BadFile(f"the weight file {path} cannot be read: {error}", fix=restore) from error
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in kept.items()}
    if found != wanted:
        problem = f"the weight file {path} is of another network: {_difference(wanted, found)}"
        raise BadFile(problem, fix=restore)
    model.load_state_dict(kept)


def _difference(wanted: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]]) -> str:
    """Return the first tensor that differs, in words, and how many do."""
    names = [name for name in sorted(wanted | found) if wanted.get(name) != found.get(name)]
    first = names[0]
    has = f"has shape {found[first]}" if first in found else "is absent"
    needs = f"needs shape {wanted[first]}" if first in wanted else "has no place for it"
    return f"{first} {has} in the file and the network {needs} ({len(names)} such tensors in all)"

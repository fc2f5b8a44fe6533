"""Train a built-in network again: `python -m qbench.models.train resnet-glyphs`.

The recipe is seeded, and runs on two threads of a CPU in minutes. It saves a checkpoint each epoch and
goes on from there when it was killed. The same recipe on another processor gives another rounding, so
an accuracy that agrees to a few tenths of a per cent, not the same bytes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from qbench.data.base import DATASETS, Examples, preprocess, shifted
from qbench.errors import QbenchError, UnknownName
from qbench.folders import cache_folder
from qbench.models.zoo.networks import SHAPES
from qbench.models.zoo.weight_file import WEIGHTS, load_weights, save_weights
from qbench.registry import did_you_mean

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that decides the weights, beside the network's shape and the data."""

    dataset: str
    epochs: int
    batch: int = 128
    learning_rate: float = 3e-3  # the peak of one cycle, AdamW; SGD sat at chance for an epoch of glyphs
    weight_decay: float = 0.05
    label_smoothing: float = 0.05
    shift_px: int = 4  # random shift of each training image, either way; the edge is mirrored
    seed: int = 0
    threads: int = 2
    flip: bool = False  # mirror each training image left to right, or not, at random
    precision: Literal["bf16", "fp32"] = "bf16"  # of the forward pass and its gradients


RECIPES = {
    "resnet-digits": Recipe("digits", epochs=40, batch=64, shift_px=3),
    "resnet-glyphs": Recipe("glyphs", epochs=12),
    # Depthwise convolutions gain nothing from bfloat16: 970 images a second, 1,450 without (torch 2.13).
    "mobilenet-glyphs": Recipe("glyphs", epochs=9, precision="fp32"),
    "vit-glyphs": Recipe("glyphs", epochs=6, learning_rate=1.5e-3, threads=1),
    "resnet-cifar10": Recipe("cifar10", epochs=10, flip=True),
    "mobilenet-cifar10": Recipe("cifar10", epochs=8, flip=True, precision="fp32", threads=1),
    "vit-cifar10": Recipe("cifar10", epochs=10, learning_rate=1.5e-3, flip=True, threads=1),
}


def train(name: str, recipe: Recipe, out: Path) -> dict[str, object]:
    """Train a network, write its weights to `out` and what made them beside it; return the latter."""
    import torch

    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    dataset = DATASETS[recipe.dataset]()
    say(f"{name}: rendering {recipe.dataset}, or reading it from the cache")
    data = dataset.examples("train")
    selection = dataset.examples("selection")
    model = SHAPES[name].build()
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub forgets it
    wall_s = _fit(name, model, data, selection, recipe, dataset.recipe())

    save_weights(model, out)
    load_weights(model, out)  # what is scored from here on is what was written, rounded
    test = dataset.examples("test")
    libraries = ("torch", "transformers", "safetensors", *dataset.rendered_by)
    facts: dict[str, object] = {
        "model": name,
        "shape": described(SHAPES[name]),
        "recipe": described(recipe),
        "dataset_recipe": dataset.recipe(),
        "train_data_id": data.data_id,
        "test_data_id": test.data_id,
        "test_examples": len(test.labels),
        "test_accuracy": accuracy(model, test),
        "selection_accuracy": accuracy(model, selection),
        "weights_sha256": sha256(out.read_bytes()).hexdigest(),
        "training_s": round(wall_s, 1),
        "versions": {lib: version(lib) for lib in libraries},
        "date": datetime.now(UTC).date().isoformat(),
    }
    out.with_suffix(".json").write_text(json.dumps(facts, indent=2) + "\n")
    return facts


def described(shape_or_recipe: Any) -> dict[str, Any]:
    """Return a dataclass's fields, for the page beside the weights."""
    return asdict(shape_or_recipe)


def accuracy(model: nn.Module, examples: Examples, batch: int = 500) -> float:
    """Return the share of examples whose highest logit is their label, in single precision."""
    import torch

    model.eval()
    right = 0
    with torch.inference_mode():
        for start in range(0, len(examples.labels), batch):
            pixels = torch.from_numpy(preprocess(examples.images[start : start + batch]))
            right += int((model(pixels).argmax(1).numpy() == examples.labels[start : start + batch]).sum())
    return right / len(examples.labels)


def flipped(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mirror about half of the images left to right."""
    return np.where(rng.random(len(images))[:, None, None, None] < 0.5, images[:, :, ::-1], images)


def say(line: str) -> None:
    """Show progress at once, also when the output is a file."""
    print(line, file=sys.stderr, flush=True)


def _fit(
    name: str, model: nn.Module, data: Examples, selection: Examples, recipe: Recipe, dataset_recipe: str
) -> float:
    """Run the epochs that are left after the last checkpoint; return the seconds of all of them."""
    import torch

    steps = len(data.labels) // recipe.batch  # the last part of a batch is dropped: another order each epoch
    optimizer = torch.optim.AdamW(model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, epochs=recipe.epochs, steps_per_epoch=steps, pct_start=0.25
    )
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    key = sha256(f"{SHAPES[name]} {recipe} {dataset_recipe} {torch.__version__}".encode()).hexdigest()[:16]
    checkpoint = cache_folder() / "train" / f"{name}-{key}.pt"
    first, before_s = _resume(checkpoint, model, optimizer, schedule)

    begun = time.perf_counter() - before_s
    for epoch in range(first, recipe.epochs):
        model.train()
        rng = np.random.default_rng([recipe.seed, epoch])  # this epoch's own: resuming changes nothing
        order = rng.permutation(len(data.labels))
        total = 0.0
        for step in range(steps):
            chosen = order[step * recipe.batch : (step + 1) * recipe.batch]
            images = shifted(data.images[chosen], recipe.shift_px, rng)
            if recipe.flip:
                images = flipped(images, rng)
            pixels = torch.from_numpy(preprocess(images))
            # bfloat16 and channels_last: 880 images a second on two Zen 4 cores, against 480 without.
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bf16"):
                logits = model(pixels.contiguous(memory_format=torch.channels_last))
            loss = loss_of(logits.float(), torch.from_numpy(data.labels[chosen]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        spent_s = time.perf_counter() - begun
        _save(checkpoint, epoch + 1, spent_s, model, optimizer, schedule)
        left_s = spent_s / (epoch + 1) * (recipe.epochs - epoch - 1)
        say(
            f"{name}: epoch {epoch + 1}/{recipe.epochs}, loss {total / steps:.3f}, "
            f"selection accuracy {accuracy(model, selection):.1%}, {left_s / 60:.1f} min left"
        )
    return time.perf_counter() - begun


def _save(path: Path, epoch: int, spent_s: float, *parts: Any) -> None:
    """Write a checkpoint under another name first, so that a kill in the middle costs one epoch."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {"epoch": epoch, "spent_s": spent_s, "parts": [part.state_dict() for part in parts]}
    torch.save(kept, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def _resume(path: Path, *parts: Any) -> tuple[int, float]:
    """Load a checkpoint where there is one; return how many epochs it has behind it, and their seconds."""
    import torch

    if not path.is_file():
        return 0, 0.0
    kept = torch.load(path, weights_only=True)
    for part, state in zip(parts, kept["parts"], strict=True):
        part.load_state_dict(state)
    say(f"going on after epoch {kept['epoch']} from {path}")
    return int(kept["epoch"]), float(kept["spent_s"])


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and train; 2 is a user's mistake."""
    parser = argparse.ArgumentParser(prog="python -m qbench.models.train", description=__doc__)
    parser.add_argument("name", help=f"the network: {', '.join(SHAPES)}")
    parser.add_argument("--epochs", type=int, help="instead of the recipe's own number")
    parser.add_argument("--out", type=Path, help="the weight file; default: the one that qbench ships")
    options = parser.parse_args(arguments)
    try:
        if options.name not in RECIPES:
            fix = did_you_mean(options.name, list(RECIPES))
            raise UnknownName(f"no built-in network is called {options.name!r}", fix=fix)
        recipe = RECIPES[options.name]
        if options.epochs is not None:
            if options.epochs < 1:
                parser.error(f"--epochs {options.epochs}: train for 1 epoch or more")
            recipe = replace(recipe, epochs=options.epochs)
        facts = train(options.name, recipe, options.out or WEIGHTS / f"{options.name}.safetensors")
    except QbenchError as error:
        say(str(error))
        return 2
    say(f"{options.name}: test accuracy {facts['test_accuracy']:.2%} of {facts['test_examples']:,} images")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Prepared artifacts by content key: `<cache>/artifacts/<key>/`. Safe to delete at any time."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path

from qbench.cases import ArtifactSpec, key
from qbench.folders import cache_folder
from qbench.formats.artifact import MANIFEST


def folder_of(spec: ArtifactSpec) -> Path:
    """Return where this artifact is or will be."""
    return cache_folder() / "artifacts" / key(spec)


def holds(spec: ArtifactSpec) -> bool:
    """Tell whether it is there, whole: folders appear under their final name only when finished."""
    return (folder_of(spec) / MANIFEST).is_file()


def prefixes(spec: ArtifactSpec) -> list[ArtifactSpec]:
    """Return the artifacts on the way, the first hop's product first, `spec` itself last."""
    return [ArtifactSpec(spec.model, spec.way[: n + 1]) for n in range(len(spec.way))]


def workspace(spec: ArtifactSpec) -> Path:
    """Return an empty folder beside the final one, to be handed to `publish` when its files are whole."""
    folder = folder_of(spec)
    making = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}")  # two hosts may share the cache
    making.mkdir(parents=True)
    return making


def publish(making: Path, spec: ArtifactSpec) -> Path:
    """Give the finished folder its final name; if another process was first, its copy stays."""
    folder = folder_of(spec)
    try:
        os.replace(making, folder)
    except OSError:
        if not holds(spec):  # a leftover without a manifest stands in the way
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(making, folder)
        else:
            shutil.rmtree(making, ignore_errors=True)
    return folder

# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write container images without an engine: layers as tar files, and archives for `docker load` and `ctr`."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

LABEL = "servicemesh.pki.lab"


@dataclass(frozen=True)
class Link:
    """A symbolic link inside a layer."""

    target: str


# The content of a layer: path in the image -> file or folder on disk, link, or None for an empty folder.
Content = Mapping[str, Path | Link | None]


@dataclass(frozen=True)
class Image:
    """Names, layers from the bottom up, and the `config` of the image (OCI image specification)."""

    names: tuple[str, ...]
    layers: tuple[Path, ...]
    config: Mapping[str, object] = field(default_factory=dict)


def write_layer(layer: Path, content: Content) -> Path:
    """Write a layer as a reproducible tar file, without times and owners."""
    with tarfile.open(layer, "w") as tar:
        folders: set[str] = set()
        for name, source in sorted(content.items()):
            for parent in [str(path) for path in reversed(Path(name).parents) if str(path) != "."]:
                if parent not in folders:
                    tar.addfile(_entry(parent, tarfile.DIRTYPE, 0o755))
                    folders.add(parent)
            if isinstance(source, Path):
                tar.add(source, name, filter=_anonymous)
            elif source is None:
                tar.addfile(_entry(name, tarfile.DIRTYPE, 0o1777))
            else:
                entry = _entry(name, tarfile.SYMTYPE, 0o777)
                entry.linkname = source.target
                tar.addfile(entry)
    return layer


def write_archive(archive: Path, images: list[Image]) -> None:
    """Write images into one archive, which contains shared layers once."""
    with tarfile.open(archive, "w") as tar:
        manifest = []
        digests = {layer: _digest(layer) for image in images for layer in image.layers}
        for digest, layer in {digest: layer for layer, digest in digests.items()}.items():
            tar.add(layer, f"{digest}.tar", filter=_anonymous)
        for image in images:
            config = json.dumps(_config(image, [digests[layer] for layer in image.layers]), sort_keys=True).encode()
            name = f"{hashlib.sha256(config).hexdigest()}.json"
            _add(tar, name, config)
            manifest.append(
                {
                    "Config": name,
                    "RepoTags": list(image.names),
                    "Layers": [f"{digests[layer]}.tar" for layer in image.layers],
                }
            )
        _add(tar, "manifest.json", json.dumps(manifest).encode())


def _config(image: Image, digests: list[str]) -> dict:
    return {
        "architecture": "amd64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {"Labels": {LABEL: "1"}, "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
        | dict(image.config),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": LABEL} for _ in digests],
    }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = 0
    return entry


def _entry(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = kind, mode
    return entry


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o644
    tar.addfile(entry, io.BytesIO(content))

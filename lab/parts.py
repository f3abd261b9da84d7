# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parts that are built once: the name of a part's folder contains the hash of all its inputs."""

from __future__ import annotations

import hashlib
import inspect
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.places import LabError, cache
from lab.progress import Progress


@dataclass(frozen=True)
class Workshop:
    """The argument of a recipe: the folder to fill, the folders of the parts that it needs, and a log for programs."""

    folder: Path
    needs: Mapping[str, Path]
    log: Path

    def run(self, *command: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
        """Run a program, log its output, and return its standard output. Raises LabError if it fails."""
        arguments = [str(argument) for argument in command]
        with open(self.log, "a") as log:
            log.write(f"$ {' '.join(arguments)}\n")
            log.flush()
            done = subprocess.run(
                arguments, cwd=cwd, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, stderr=log, text=True
            )
            log.write(done.stdout)
        if done.returncode:
            raise LabError(f"{arguments[0]} exited with status {done.returncode}")
        return done.stdout


@dataclass(frozen=True)
class Part:
    """Something to build. `inputs` are files, folders and texts. The parts in `needs` are inputs, too."""

    name: str
    title: str
    recipe: Callable[[Workshop], None]
    inputs: tuple[Path | str, ...] = ()
    needs: tuple[Part, ...] = ()

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits of the hash of all inputs, and of the source of the recipe."""
        digest = hashlib.sha256()
        for text in (self.name, inspect.getsource(self.recipe), *(need.key for need in self.needs)):
            digest.update(text.encode() + b"\0")
        for item in self.inputs:
            for name, content in _content(item):
                digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
        return digest.hexdigest()[:12]

    @property
    def folder(self) -> Path:
        """The folder of the built part."""
        return cache() / "parts" / f"{self.name}-{self.key}"

    def build(self) -> None:
        """Build into a temporary folder and rename it, so that a part is complete or absent. Raises LabError."""
        log = cache() / "log" / f"{self.name}.log"
        partial = self.folder.with_name(f"{self.name}.partial")
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            self.recipe(Workshop(partial, {need.name: need.folder for need in self.needs}, log))
        except (LabError, OSError) as error:
            tail = "\n".join(f"    {line}" for line in log.read_text(errors="replace").splitlines()[-12:])
            raise LabError(f"Building {self.title} failed: {error}\n{tail}\n  Complete log: {log}") from error
        partial.rename(self.folder)


def _content(item: Path | str) -> Iterable[tuple[str, bytes]]:
    if isinstance(item, str):
        yield "", item.encode()
    elif item.is_dir():
        for path in sorted(item.rglob("*")):
            if path.is_file() and not path.name.endswith(("_test.go", ".pyc")):
                yield str(path.relative_to(item)), path.read_bytes()
    else:
        yield item.name, item.read_bytes()


def build_all(parts: Iterable[Part], progress: Callable[[int], Progress]) -> int:
    """Build the missing parts in order, and return their number."""
    missing = [part for part in parts if not part.folder.exists()]
    lines = progress(len(missing))
    for part in missing:
        with lines.step(part.title):
            part.build()
    return len(missing)

# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each command of the lab does."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from lab import contents, engine
from lab.parts import Part, build_all
from lab.places import LabError, cache, run_folder
from lab.progress import Progress
from lab.recipes import GO, LINKERD, VERSIONS


def env_file() -> Path:
    """What `up` tells those who use the lab."""
    return cache() / "env.json"


def build(*names: str) -> None:
    """build what is missing, start nothing; with names of parts, only those and what they need"""
    wanted = selected(names)
    if os.geteuid() != 0 and contents.DEBIAN in wanted:
        raise LabError("the lab makes a Debian root file system and runs a container engine; run it as root")
    if shutil.which("go") is None:
        raise LabError("Go is missing; install Go 1.26 or newer and put it on PATH")
    start = time.monotonic()
    built = build_all(wanted, lambda total: Progress(cache() / "timings.json", total))
    state = f"{built} built in {time.monotonic() - start:.0f} s" if built else "all built before"
    print(f"lab: {len(wanted)} parts, {state}", flush=True)


def selected(names: Sequence[str]) -> list[Part]:
    """The named parts and everything they need, in the order of building; without names, all but the optional ones.

    Raises LabError for a name that is no part.
    """
    every = (*contents.PARTS, *contents.OPTIONAL_PARTS)
    known = {part.name: part for part in every}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise LabError(f"no part is called {', '.join(unknown)}; the parts are {', '.join(known)}")
    wanted: set[Part] = set()
    missing = [known[name] for name in names] or list(contents.PARTS)
    while missing:
        part = missing.pop()
        wanted.add(part)
        missing += part.needs
    return [part for part in every if part in wanted]


def up() -> None:
    """build, start an engine, load the images, and write env.json"""
    build()
    docker = engine.ensure(contents.OWN.folder / "pause")
    names = {name: contents.image_names(name)[0] for name in contents.ENGINE_IMAGE_NAMES}
    if not all(engine.has_image(docker, name) for name in names.values()):
        with Progress(cache() / "timings.json", 1).step("images into the engine"):
            engine.load(docker, contents.ENGINE_IMAGES.folder / "images.tar")
            engine.drop_other_images(docker, set(names.values()))
    _write(env_file(), environment(docker, names))
    print(f"lab: up, engine {docker}; what to use is in {env_file()}", flush=True)


def environment(docker: str, images: dict[str, str]) -> dict:
    """The content of env.json: everything a playbook needs to run in the lab."""
    charts = contents.CHARTS.folder
    linkerd = contents.LINKERD_IMAGES
    return {
        "environment": {
            "DOCKER_HOST": docker,
            "K3D_IMAGE_LOADBALANCER": images["balancer"],
            "K3D_IMAGE_TOOLS": images["tools"],
        },
        "path_prefix": str(contents.TOOLS.folder),
        "node_image": images["node"],
        "vault_image": images["vault"],
        "charts": {
            name.replace("-", "_"): str(charts / f"{name}.tgz")
            for name in ("cert-manager", "trust-manager", "linkerd-crds", "linkerd-control-plane")
        },
        "gateway_api_crds": str(contents.GATEWAY_API.folder / "gateway-api.yaml"),
        "images": {part: {"name": name, "tag": tag} for part, (name, tag) in linkerd.items()},
        "linkerd_values": {
            "linkerdVersion": LINKERD,
            "controllerImage": linkerd["controller"][0],
            "disableHeartBeat": True,
            "policyController": {"image": {"name": linkerd["policy_controller"][0]}},
            "proxy": {"image": {"name": linkerd["proxy"][0]}},
            "proxyInit": {
                "image": {"name": linkerd["proxy_init"][0], "version": linkerd["proxy_init"][1]},
                "runAsRoot": True,
            },
        },
        # The package of public CAs is an image that cannot be had; the flow never uses it.
        "trust_manager_values": {"defaultPackage": {"enabled": False}},
        "test_app_image": contents.TEST_APP_IMAGE,
        "linkerd_version": LINKERD,
        "versions": {name: entry.get("release", entry["version"]) for name, entry in GO.items()}
        | {name: entry["version"] for name, entry in VERSIONS["wheel"].items()},
    }


def down() -> None:
    """stop the lab's own engine and everything in it; a later up starts it again"""
    print("lab: engine stopped" if engine.stop() else "lab: no engine of its own is running")


def fresh() -> None:
    """remove the lab's containers, their volumes and networks; keep what was built"""
    for docker in engine.running():
        for what in engine.remove_all(docker):
            print(f"lab: removed {what}")


def clean() -> None:
    """remove everything the lab made: containers, images, engine, cache"""
    for docker in engine.running():
        for what in [*engine.remove_all(docker), *engine.remove_images(docker)]:
            print(f"lab: removed {what}")
    engine.stop()
    shutil.rmtree(run_folder(), ignore_errors=True)
    for entry in cache().iterdir():  # the lock is held, and others may wait for it
        if entry.name != "lock":
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    print(f"lab: {cache()} emptied")


def status() -> None:
    """say what is built and what is running"""
    for part in contents.PARTS:
        print(f"{'built  ' if part.folder.exists() else 'missing'} {part.title}")
    for docker in engine.running():
        containers = engine.containers(docker)
        print(f"engine  {docker}, {len(containers)} containers of the lab")


def env() -> None:
    """print exports for a shell: eval "$(python -m lab env)" """
    if not env_file().exists():
        raise LabError("the lab is not up; run `python -m lab up` first")
    told = json.loads(env_file().read_text())
    for name, value in told["environment"].items():
        print(f"export {name}={shlex.quote(value)}")
    print(f"export PATH={shlex.quote(told['path_prefix'])}:$PATH")


def _write(path: Path, content: dict) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    partial.replace(path)


COMMANDS = {"build": build, "up": up, "down": down, "fresh": fresh, "clean": clean, "status": status, "env": env}
READ_ONLY = ("status", "env")

# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of the lab. The docstring of a command is its help text."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from lab import contents, engine, prometheus
from lab.parts import Part, build_all
from lab.places import LabError, cache, run_folder
from lab.progress import Progress
from lab.recipes import GO, LINKERD, VERSIONS

DEMO_CLUSTER = "pki-cluster"  # of inventories/lab


def env_file() -> Path:
    """The file in which `up` stores the addresses, images and charts for users of the lab."""
    return cache() / "env.json"


def build(*names: str) -> None:
    """build the missing parts, or only the given parts and their dependencies; start nothing"""
    parts = select_parts(names)
    if os.geteuid() != 0 and contents.DEBIAN in parts:
        raise LabError("The lab creates a Debian root file system and starts a container engine. Run it as root.")
    if shutil.which("go") is None:
        raise LabError("Go is not installed. Install Go 1.26 or newer, and add it to PATH.")
    start = time.monotonic()
    built = build_all(parts, lambda total: Progress(cache() / "timings.json", total))
    state = f"{built} built in {time.monotonic() - start:.0f} s" if built else "all already built"
    print(f"lab: {len(parts)} parts, {state}", flush=True)


def select_parts(names: Sequence[str]) -> list[Part]:
    """The named parts and their dependencies in build order. Without names, all parts except the optional ones.

    Raises LabError for an unknown name.
    """
    available = (*contents.PARTS, *contents.OPTIONAL_PARTS)
    by_name = {part.name: part for part in available}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise LabError(f"Unknown part: {', '.join(unknown)}. Available parts: {', '.join(by_name)}.")
    selected: set[Part] = set()
    remaining = [by_name[name] for name in names] or list(contents.PARTS)
    while remaining:
        part = remaining.pop()
        selected.add(part)
        remaining += part.needs
    return [part for part in available if part in selected]


def up() -> None:
    """build the missing parts, start a container engine, load the images, and write env.json"""
    build()
    docker = engine.ensure(contents.OWN.folder / "pause")
    names = {name: contents.image_names(name)[0] for name in contents.ENGINE_IMAGE_NAMES}
    if not all(engine.has_image(docker, name) for name in names.values()):
        with Progress(cache() / "timings.json", 1).step("Load the images into the engine"):
            engine.load(docker, contents.ENGINE_IMAGES.folder / "images.tar")
            engine.remove_other_images(docker, set(names.values()))
    _write(env_file(), environment(docker, names))
    print(f"lab: up, engine {docker}, environment in {env_file()}", flush=True)


def environment(docker: str, images: dict[str, str]) -> dict:
    """The content of env.json: everything that a playbook needs to run in the lab."""
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
        # The image with the package of public CAs is not available in the lab, and site.yml does not use it.
        "trust_manager_values": {"defaultPackage": {"enabled": False}},
        "test_app_image": contents.TEST_APP_IMAGE,
        "linkerd_version": LINKERD,
        "versions": {name: entry.get("release", entry["version"]) for name, entry in GO.items()}
        | {name: entry["version"] for name, entry in VERSIONS["wheel"].items()},
    }


def down() -> None:
    """stop the lab's own container engine and its containers"""
    print("lab: engine stopped" if engine.stop() else "lab: the lab's own engine is not running")


def fresh() -> None:
    """remove the lab's containers, volumes and networks, but not its parts"""
    for docker in engine.running():
        for removed in engine.remove_all(docker):
            print(f"lab: removed {removed}")


def clean() -> None:
    """remove everything that the lab created: containers, images, engine and cache"""
    for docker in engine.running():
        for removed in [*engine.remove_all(docker), *engine.remove_images(docker)]:
            print(f"lab: removed {removed}")
    engine.stop()
    shutil.rmtree(run_folder(), ignore_errors=True)
    for entry in cache().iterdir():
        if not entry.name.endswith("lock"):  # other processes may wait for the locks
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    print(f"lab: {cache()} emptied")


def status() -> None:
    """list the built parts and the running engines"""
    for part in contents.PARTS:
        print(f"{'built  ' if part.folder.exists() else 'missing'} {part.title}")
    for docker in engine.running():
        containers = engine.containers(docker)
        print(f"engine  {docker}, {len(containers)} containers of the lab")


def env() -> None:
    """print exports for a shell: eval "$(python -m lab env)" """
    if not env_file().exists():
        raise LabError("The lab is not up. Run `python -m lab up` first.")
    content = json.loads(env_file().read_text())
    for name, value in content["environment"].items():
        print(f"export {name}={shlex.quote(value)}")
    print(f"export PATH={shlex.quote(content['path_prefix'])}:$PATH")


def monitor() -> None:
    """verify the mesh of the demo about once a minute, and show its alerts in Prometheus, until Ctrl-C"""
    if not env_file().exists():
        raise LabError("The lab is not up. Run `make demo MONITORING=1`.")
    content = json.loads(env_file().read_text())
    kubeconfig = Path.home() / f".config/k3d/kubeconfig-{DEMO_CLUSTER}.yaml"
    path = f"{content['path_prefix']}:{os.environ['PATH']}"
    try:
        prometheus.monitor({**os.environ, **content["environment"], "PATH": path, "KUBECONFIG": str(kubeconfig)})
    except KeyboardInterrupt:
        print("\nlab: Prometheus stopped. The mesh is still up.", flush=True)


def _write(path: Path, content: dict) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=2) + "\n")
    partial.replace(path)


COMMANDS = {
    "build": build,
    "up": up,
    "down": down,
    "fresh": fresh,
    "clean": clean,
    "status": status,
    "env": env,
    "monitor": monitor,
}
WITHOUT_LOCK = ("status", "env", "monitor")

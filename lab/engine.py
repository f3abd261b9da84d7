# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container engine: that of the user if it can run privileged containers, otherwise one of the lab.

An engine is identified by its address, as in DOCKER_HOST.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from pathlib import Path

from lab.images import LABEL
from lab.places import SOURCES, LabError, cache, run_folder
from lab.recipes import debian_release

START_SECONDS, STOP_SECONDS = 60, 40
PROBE = "servicemesh-pki-lab/probe:1"
# Labels of networks that the role k3d_cluster or k3d creates.
NETWORK_LABELS = (("servicemesh.pki.made", "true"), ("app", "k3d"))


def own_address() -> str:
    """The address of the lab's own engine."""
    return f"unix://{run_folder() / 'docker.sock'}"


def users_address() -> str:
    """The address of the engine that the docker commands of the user use."""
    return os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"


def ensure(probe: Path) -> str:
    """Return an engine that runs privileged containers, and start it if necessary.

    `probe` is a static program that is run in such a container. Raises LabError.
    """
    _install()
    if _responds(own_address()):
        return own_address()
    if _responds(users_address()) and _runs_privileged(users_address(), probe):
        return users_address()
    _start()
    if not _runs_privileged(own_address(), probe):
        raise LabError(f"The lab's engine cannot run privileged containers. See {_log()}.")
    return own_address()


def running() -> list[str]:
    """The addresses of the running engines that may contain objects of the lab."""
    if shutil.which("docker") is None:
        return []
    return [address for address in dict.fromkeys((own_address(), users_address())) if _responds(address)]


def stop() -> bool:
    """Stop the lab's own engine and its containers. Returns whether it was running."""
    pid = _own_pid()
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    for _ in range(STOP_SECONDS * 5):
        if _own_pid() is None:
            return True
        time.sleep(0.2)
    raise LabError(f"The lab's engine (pid {pid}) did not stop within {STOP_SECONDS} s. See {_log()}.")


def docker(address: str, *arguments: str, given: bytes | None = None) -> str:
    """Run the docker client with an engine and return its standard output. Raises LabError if it fails."""
    done = subprocess.run(
        ["docker", *arguments], input=given, capture_output=True, env={**os.environ, "DOCKER_HOST": address}
    )
    if done.returncode:
        raise LabError(f"docker {arguments[0]} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode()


def has_image(address: str, name: str) -> bool:
    """Whether the engine has an image of that name."""
    return bool(docker(address, "image", "ls", "--quiet", name).strip())


def load(address: str, archive: Path) -> None:
    """Load the images of an archive into the engine."""
    docker(address, "load", "--quiet", "--input", str(archive))


def remove_other_images(address: str, current: set[str]) -> None:
    """Remove earlier builds of the lab's images, unless a container uses them."""
    for name in set(_images(address)) - current:
        with contextlib.suppress(LabError):
            docker(address, "image", "rm", name)


def containers(address: str) -> list[str]:
    """The IDs of all containers of the lab's images."""
    return docker(address, "ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={LABEL}").split()


def remove_all(address: str) -> list[str]:
    """Remove the lab's containers, their volumes and their networks, and return their names.

    In the engine of the user, only networks with one of NETWORK_LABELS are removed.
    """
    ids = containers(address)
    details = json.loads(docker(address, "inspect", *ids)) if ids else []
    networks = {name for one in details for name in one["NetworkSettings"]["Networks"]} - {"bridge", "host", "none"}
    volumes = {mount["Name"] for one in details for mount in one["Mounts"] if mount["Type"] == "volume"}
    if ids:
        docker(address, "rm", "--force", "--volumes", *ids)
    removed = [f"container {one['Name'].lstrip('/')}" for one in details]
    remaining = set(docker(address, "volume", "ls", "--quiet").split()) & volumes
    if remaining:
        docker(address, "volume", "rm", *remaining)
    for name in sorted(networks):
        network = json.loads(docker(address, "network", "inspect", name))[0]
        labels = (network["Labels"] or {}).items()
        created = address == own_address() or any(label in labels for label in NETWORK_LABELS)
        if created and not network["Containers"]:
            docker(address, "network", "rm", name)
            removed.append(f"network {name}")
    if address == own_address():  # unused networks can only come from interrupted runs
        docker(address, "network", "prune", "--force")
    return removed


def remove_images(address: str) -> list[str]:
    """Remove the lab's images and return their names."""
    names = _images(address)
    if names:
        docker(address, "image", "rm", "--force", *names)
    return [f"image {name}" for name in names]


def _images(address: str) -> list[str]:
    return docker(address, "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "servicemesh-pki-lab/*").split()


def _install() -> None:
    """Install the Docker engine and iptables of Debian. With systemd, this also starts the engine."""
    client = "docker-cli" if debian_release() == "trixie" else "docker.io"  # a separate package since Debian 13
    programs = {"docker": client, "dockerd": "docker.io", "iptables": "iptables"}
    if _responds(users_address()):
        return
    packages = sorted({package for program, package in programs.items() if shutil.which(program) is None})
    if not packages:
        return
    print(f"lab: installing {' '.join(packages)} with apt-get ...", flush=True)
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", *packages]):
        done = subprocess.run(["apt-get", *command], capture_output=True, text=True, env=env)
        if done.returncode:
            raise LabError(f"apt-get {command[0]} failed:\n{done.stderr.strip()}")


def _responds(address: str) -> bool:
    if shutil.which("docker") is None:
        return False
    env = {**os.environ, "DOCKER_HOST": address}
    done = subprocess.run(["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, env=env)
    return done.returncode == 0


def _runs_privileged(address: str, probe: Path) -> bool:
    """Whether the engine runs the probe in a privileged container, as the lab's nodes are."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.add(probe, "probe")
    try:
        docker(address, "import", "-", PROBE, given=layer.getvalue())
        docker(address, "run", "--rm", "--privileged", "--network=none", PROBE, "/probe", "true")
    except LabError:
        return False
    finally:
        subprocess.run(
            ["docker", "image", "rm", PROBE], capture_output=True, env={**os.environ, "DOCKER_HOST": address}
        )
    return True


def _log() -> Path:
    return cache() / "engine" / "dockerd.log"


def _own_pid() -> int | None:
    """The pid of the lab's engine. After a crash, the pid file may contain the pid of another process."""
    try:
        pid = int((run_folder() / "docker.pid").read_text())
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if f"--pidfile={run_folder() / 'docker.pid'}".encode() in arguments else None


def _start() -> None:
    """Start the engine in the background, separate from an engine of the user. Raises LabError if it fails."""
    if _own_pid() is not None:
        stop()  # it runs, but does not respond
    home, run = cache() / "engine", run_folder()
    home.mkdir(parents=True, exist_ok=True)
    run.mkdir(parents=True, exist_ok=True)
    (run / "docker.pid").unlink(missing_ok=True)
    wrapper = home / "runc-wrapper"
    shutil.copy(SOURCES / "runc-wrapper.sh", wrapper)
    wrapper.chmod(0o755)
    settings = {"runtimes": {"lab": {"path": str(wrapper)}}, "default-runtime": "lab"}
    (home / "daemon.json").write_text(json.dumps(settings, indent=2))
    command = [
        "dockerd", f"--host={own_address()}", f"--data-root={home / 'data'}", f"--exec-root={run / 'exec'}",
        f"--pidfile={run / 'docker.pid'}", f"--config-file={home / 'daemon.json'}",
    ]  # fmt: skip
    with open(_log(), "ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    for _ in range(START_SECONDS * 5):
        if _responds(own_address()):
            return
        if process.poll() is not None:
            break
        time.sleep(0.2)
    tail = "\n".join(_log().read_text(errors="replace").splitlines()[-10:])
    raise LabError(f"The container engine did not start. Last lines of its log {_log()}:\n{tail}")

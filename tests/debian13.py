# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command of this checkout as root in a chroot with Debian 13: `python tests/debian13.py COMMAND ...`.

debootstrap creates the root file system once, in the cache of the project, with the mirror of this machine's apt. The
command has access to this checkout, the parts and the engine of the lab, and the network. It has its own cache and home
folder. All mounts are in a mount namespace that is removed with the command.
"""

from __future__ import annotations

import inspect
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from lab import recipes  # noqa: E402
from lab.commands import env_file  # noqa: E402
from lab.parts import Part, Workshop, build_all  # noqa: E402
from lab.places import LabError, cache, exclusive_lock  # noqa: E402
from lab.progress import Progress  # noqa: E402

SUITE = "trixie"
# The requirements in the README, and the programs that tests compare results with.
PACKAGES = "chromium curl docker-cli git iproute2 make openssl procps python3-venv"
SHARED_PATHS = ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs", "/usr/share/ca-certificates",
                "/usr/local/share/ca-certificates")  # fmt: skip


def root_file_system(shop: Workshop) -> None:
    """Debian 13 with what the project needs of a machine, but for Go, which comes from this one."""
    root = shop.folder / "root"
    recipes.bootstrap(shop, SUITE, recipes.debian_source(shop)[1], "ca-certificates", root)
    # debootstrap itself cannot choose between packages that provide the same.
    env = recipes.apt_proxy(shop) | {"DEBIAN_FRONTEND": "noninteractive"}
    shop.run("chroot", root, "apt-get", "update", "-q", env=env)
    shop.run("chroot", root, "apt-get", "install", "-y", "-q", "--no-install-recommends", *PACKAGES.split(), env=env)
    shop.run("chroot", root, "apt-get", "clean")


PART = Part(
    "debian13", "Debian 13 for tests", root_file_system, (SUITE, PACKAGES, inspect.getsource(recipes.bootstrap))
)


def output(*command: str) -> str:
    """Standard output of a command in the checkout."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def pip_files() -> Iterator[Path]:
    """The configuration files of pip, and the files and folders in them, such as certificates and wheels."""
    for line in output(sys.executable, "-m", "pip", "config", "debug").splitlines():
        name, exists, value = line.strip().partition(", exists: ")
        if exists and value == "True":
            yield Path(name)
    for line in output(sys.executable, "-m", "pip", "config", "list").splitlines():
        yield from (Path(value) for value in shlex.split(line.partition("=")[2]) if value.startswith("/"))


def engine_sockets() -> Iterator[Path]:
    """The socket of the lab's container engine, if the lab is up."""
    if env_file().exists():
        kind, dummy, path = json.loads(env_file().read_text())["environment"]["DOCKER_HOST"].partition("://")
        if kind == "unix":
            yield Path(path)


def mounts(go: Path) -> dict[Path, Path]:
    """Bind mounts, as path in the chroot: path on this machine. Later ones may be inside earlier ones."""
    own = cache().parent / "debian13"
    shared = [ROOT, Path(output("git", "rev-parse", "--path-format=absolute", "--git-common-dir")), go]
    shared += [Path(name) for name in SHARED_PATHS] + [*pip_files(), *engine_sockets()]
    sources = {Path(name): Path(name) for name in ("/proc", "/sys", "/dev")}
    sources |= {Path.home(): own / "home", Path("/tmp"): own / "tmp"}
    sources |= {path: path for path in shared if path.exists()}
    return sources | {cache().parent: own / "cache", cache(): cache()}


def chroot_script(root: Path, sources: dict[Path, Path], command: list[str]) -> str:
    """A shell script that creates the mounts in the root file system and runs the command there."""
    lines = ["set -eu"]
    for path, source in sources.items():
        target = shlex.quote(f"{root}{path}")
        create = f"mkdir -p {target}" if source.is_dir() else f"mkdir -p $(dirname {target}); touch {target}"
        lines.append(f"{create}; mount --rbind {shlex.quote(str(source))} {target}")
    inner = f"cd {shlex.quote(str(ROOT))} && exec {shlex.join(command)}"
    lines.append(f"exec chroot {shlex.quote(str(root))} /bin/sh -c {shlex.quote(inner)}")
    return "\n".join(lines)


def environment(outside: Mapping[str, str], go: Path) -> dict[str, str]:
    """The environment variables in the chroot, from those of this process."""
    env = {name: value for name, value in outside.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH", "MAKEFLAGS")}
    env["PATH"] = f"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:{go / 'bin'}"
    # The checkout may belong to another user, and Git does not find the configuration in the HOME of this machine.
    return env | {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}


def main(command: list[str]) -> int:
    """Create the root file system if it is missing, run the command, and return its exit status."""
    with exclusive_lock("debian13.lock"):
        build_all([PART], lambda total: Progress(cache() / "debian13-timings.json", total))
    go = Path(output("go", "env", "GOROOT"))
    sources = mounts(go)
    for name in ("home", "tmp", "cache"):
        (cache().parent / "debian13" / name).mkdir(parents=True, exist_ok=True)
    (cache().parent / "debian13/tmp").chmod(0o1777)  # tests start programs as other users, too
    env = environment(os.environ, go)
    namespace = ["unshare", "--mount", "--propagation", "private", "/bin/sh", "-c"]
    return subprocess.run(
        [*namespace, chroot_script(PART.folder / "root", sources, command)], env=env, check=False
    ).returncode


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LabError as error:
        sys.exit(f"debian13: {error}")

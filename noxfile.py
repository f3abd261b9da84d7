# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that is checked and tested, one session each; `nox --list` names them.

All sessions run in the environment that `make venv` pins, so `make` is the usual way in. Pytest's own arguments may
follow `--`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

import nox

sys.path.insert(0, str(Path(__file__).parent))
from lab.places import cache_root

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "none"
nox.options.stop_on_first_error = True
nox.options.sessions = ["lint", "typing", "licences", "changelog", "docs", "prose", "unit"]

ROOT = Path(__file__).parent
CACHE = cache_root()
NAME = Path("ansible_collections/servicemesh/pki")
DEPENDENCIES = (
    "community/docker",
    "community/hashi_vault",
    "community/library_inventory_filtering_v1",
    "kubernetes/core",
)
COLLECTIONS = {"ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections")}
ACTIONLINT = "github.com/rhysd/actionlint/cmd/actionlint@v1.7.9"
VALE = "github.com/vale-cli/vale/v3/cmd/vale@v3.22.0"  # newer ones need a module that the Go proxy does not serve
# Sources whose words are checked beside the pages. Add "plugins", "roles" and "playbooks" when they have no findings.
PROSE = ["fragments"]
COVERAGE = {"lines": 95, "branches": 90}
MUTMUT = f"""[mutmut]
source_paths = {NAME}/plugins
only_mutate =
    {NAME}/plugins/module_utils/_x509/*.py
    {NAME}/plugins/plugin_utils/_verify/*.py
    {NAME}/plugins/module_utils/_common/drift.py
    {NAME}/plugins/module_utils/_vault/authority.py
also_copy =
    {NAME}/plugins
    {NAME}/meta
    {NAME}/galaxy.yml
    {NAME}/tests
pytest_add_cli_args_test_selection =
    {NAME}/tests/unit/x509
    {NAME}/tests/unit/vault
use_git_change_detection = false
"""
FLOW = ("test_second_run_changes_nothing", "test_verify_prints_chain_and_changes_nothing")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@nox.session
def lint(session: nox.Session) -> None:
    """ruff, yamllint, ansible-lint in its production profile."""
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("yamllint", "--strict", ".")
    session.run("ansible-lint", "--offline", "-q")


@nox.session
def typing(session: nox.Session) -> None:
    """mypy --strict on what the plugins share."""
    session.run("mypy")


@nox.session
def licences(session: nox.Session) -> None:
    """Every file says whose it is and what is allowed with it (REUSE)."""
    session.run("reuse", "lint", "--lines")


@nox.session
def changelog(session: nox.Session) -> None:
    """The fragments of what is new."""
    session.run("antsibull-changelog", "lint")


@nox.session
def docs(session: nox.Session) -> None:
    """Every page of plugins and roles, strictly: also the options that they refer to in others."""
    strict = ("--plugin-docs", "--validate-collection-refs=dependent")
    session.run("antsibull-docs", "lint-collection-docs", *strict, ".", env=COLLECTIONS)


@nox.session
def prose(session: nox.Session) -> None:
    """Spelling, words and terms of pages and sources, by Vale. `-- plugins` checks these sources only."""
    vale = CACHE / f"vale-{VALE.rpartition('@')[2]}/vale"
    if not vale.exists():
        if not shutil.which("gcc"):
            session.error("Vale is built with a C compiler: apt-get install gcc libc6-dev")
        session.run("go", "install", VALE, env={"GOBIN": str(vale.parent)})
    check = (str(vale), "--config", str(ROOT / ".vale.ini"), "--output", "line")
    if not session.posargs:
        pages = session.run("git", "ls-files", "*.md", silent=True)
        session.run(*check, *str(pages).split())
    with tempfile.TemporaryDirectory() as sentences:
        session.run("python", "tests/prose.py", sentences, *(session.posargs or PROSE))
        with session.chdir(sentences):
            session.run(*check, ".")
    session.run(*check, "--ext", ".md", "The key was born in Vault.", success_codes=[1], silent=True)  # it can fail


@nox.session
def docsite(session: nox.Session) -> None:
    """The documentation as a web site in .nox/docsite: guides, every plugin, every role. Any warning is an error."""
    html, pages = ROOT / ".nox/docsite/html", ROOT / "docs/docsite/collection"
    for place in (html, pages):
        shutil.rmtree(place, ignore_errors=True)
    pages.mkdir(mode=0o755)
    settings = ("--use-current", "--squash-hierarchy", "--fail-on-error", "--dest-dir", str(pages))
    session.run("antsibull-docs", "collection", *settings, "servicemesh.pki", env=COLLECTIONS)
    session.run("sphinx-build", "-q", "-E", "-W", "--keep-going", "-c", "docs/docsite", ".", str(html))


@nox.session
def unit(session: nox.Session) -> None:
    """Functions and modules, with named stand-ins for the programs that they start."""
    session.run("pytest", "--numprocesses", "auto", "tests/unit", *session.posargs)


@nox.session
def vault(session: nox.Session) -> None:
    """Modules against a real OpenBao process, roles' conditions against a real API server's answers."""
    product = os.environ.get("VAULT")  # hashicorp, or a version of OpenBao, instead of the pinned one
    program = session.run("python", "tests/integration/vault/products.py", product, silent=True) if product else ""
    chosen = {"SERVICEMESH_PKI_TEST_VAULT_PROGRAM": (str(program).splitlines() or [""])[-1]}
    build_programs(session)
    session.run("pytest", "tests/integration", *session.posargs, env=chosen)


@nox.session
def oldest(session: nox.Session) -> None:
    """The tests of `unit` and `vault` with the oldest supported set, tests/oldest.toml, on its Python."""
    wanted = tomllib.loads((ROOT / "tests/oldest.toml").read_text())
    place = oldest_environment(session, wanted)
    build_programs(session)
    paths = {"PATH": f"{place / 'bin'}:{os.environ['PATH']}"}
    session.run(
        str(place / "bin/python"), "-m", "pytest", *(session.posargs or ["tests/unit", "tests/integration"]), env=paths
    )


@nox.session
def debian13(session: nox.Session) -> None:
    """Entries of the Makefile on Debian 13 in a chroot, for example `-- unit sanity CORE=2.20`; all without a name."""
    entries = session.posargs or ["unit", "test-vault", "sanity", "flow"]
    if "flow" in entries:
        session.run("python", "-m", "lab", "up")
    session.run("python", "tests/debian13.py", "make", *entries)


@nox.session
def flow(session: nox.Session) -> None:
    """site.yml twice and verify.yml, in a lab that is up."""
    session.run("pytest", *(f"tests/end_to_end/test_site.py::{name}" for name in FLOW), *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """The tests of `unit` and `vault`, and how much of the plugins they reach; too little is an error."""
    build_programs(session)
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", "tests/unit", "tests/integration", *session.posargs)
    session.run("coverage", "combine", "--quiet", success_codes=[0, 1])
    session.run("coverage", "json", "-q", "-o", str(Path(session.create_tmp()) / "coverage.json"))
    session.run("coverage", "report")
    totals = json.loads((Path(session.create_tmp()) / "coverage.json").read_text())["totals"]
    reached = {
        "lines": 100 * totals["covered_lines"] / totals["num_statements"],
        "branches": 100 * totals["covered_branches"] / totals["num_branches"],
    }
    session.log(", ".join(f"{name} {percent:.1f} %" for name, percent in reached.items()))
    short = [name for name, least in COVERAGE.items() if reached[name] < least]
    if short:
        session.error(f"Too few {' and '.join(short)} are reached; wanted are {COVERAGE}")


@nox.session
def webpki(session: nox.Session) -> None:
    """The profile linkerd beside the crates that Linkerd's proxies verify with; needs cargo. Part of nothing else."""
    session.run("pytest", "-m", "rust", "tests/unit/x509", *session.posargs)


@nox.session
def lab(session: nox.Session) -> None:
    """The lab, and the whole flow in it."""
    session.run("python", "-m", "lab", "up")
    session.run("pytest", "tests/end_to_end", *session.posargs)


@nox.session
def molecule(session: nox.Session) -> None:
    """Each role, the whole flow and its bad days in the lab; `-- NAME` for one scenario."""
    session.run("python", "-m", "lab", "up")
    for name in session.posargs or sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")):
        session.run("molecule", "test", "-s", name)


@nox.session
def build(session: nox.Session) -> None:
    """The artifact for Galaxy."""
    made(session)


@nox.session
def galaxy(session: nox.Session) -> None:
    """What Galaxy and Automation Hub say of the artifact when they take it in."""
    artifact = made(session)
    strictly = {"GALAXY_IMPORTER_CHECK_REQUIRED_TAGS": "true"}
    done = session.run("python", "-m", "galaxy_importer.main", str(artifact), env=strictly, silent=True)
    session.log(done)
    complaints = [line for line in str(done).splitlines() if line.startswith(("WARNING", "ERROR"))]
    if complaints:
        session.error("\n".join(complaints))


@nox.session
def sanity(session: nox.Session) -> None:
    """ansible-test sanity on the artifact and its tests, nothing ignored."""
    place = CACHE / "sanity"
    shutil.rmtree(place / "ansible_collections", ignore_errors=True)
    home = place / "home" / ".ansible/test/cache"
    home.mkdir(parents=True, exist_ok=True)
    # ansible-test would download pip from a place that not every machine reaches.
    shutil.copy(ROOT / "tests/pip_bootstrap.py", home / f"get_pip_{pip_of_ansible_test().replace('.', '_')}.py")
    lay(session, made(session), place)
    with session.chdir(place / NAME):
        session.run("ansible-test", "sanity", "--python", PYTHON, "--color", "no", *session.posargs,
                    env={"HOME": str(place / "home")})  # fmt: skip


@nox.session
def workflow(session: nox.Session) -> None:
    """The workflow on GitHub, by actionlint, which Go builds."""
    session.run("go", "run", ACTIONLINT)


@nox.session
def ee(session: nox.Session) -> None:
    """An execution environment that holds the artifact: everything up to the container engine's build."""
    place = Path(session.create_tmp())
    artifact = made(session)
    definition = f"""
version: 3
dependencies:
  galaxy: {{collections: [{{name: {artifact.name}, type: file}}]}}
"""
    (place / "execution-environment.yml").write_text(definition)
    with session.chdir(place):
        session.run("ansible-builder", "create", "--output-filename", "Containerfile")
    unpacked = place / "collections"
    shutil.rmtree(unpacked, ignore_errors=True)
    lay(session, artifact, unpacked)
    lists = ("--write-pip", str(place / "pip.txt"), "--write-bindep", str(place / "bindep.txt"))
    session.run("ansible-builder", "introspect", str(unpacked), *lists)
    wanted = set(re.findall(r"^[a-z]\w*", (ROOT / "meta/ee-requirements.txt").read_text(), re.M))
    missing = wanted - set(re.findall(r"^[A-Za-z]\w*", (place / "pip.txt").read_text(), re.M))
    if missing:
        session.error(f"ansible-builder does not see {', '.join(sorted(missing))}")


@nox.session
def mutation(session: nox.Session) -> None:
    """How many small errors in the code on certificates and drift the tests see. Takes long; part of nothing else."""
    place = CACHE / "mutation"
    shutil.rmtree(place, ignore_errors=True)
    lay(session, made(session), place)
    copy = place / "mutants" / NAME / ".collections/ansible_collections/servicemesh"
    copy.mkdir(parents=True)
    (copy / "pki").symlink_to("../../..")
    (place / "setup.cfg").write_text(MUTMUT)
    with session.chdir(place):
        session.run("mutmut", "run", *session.posargs)
        told = str(session.run("mutmut", "results", silent=True))
    session.log(told)
    session.log(f"{told.count(': survived')} survived")


def oldest_environment(session: nox.Session, wanted: dict[str, Any]) -> Path:
    """A virtual environment as `make venv` makes it, with the oldest supported versions put over it."""
    texts = [(ROOT / name).read_text() for name in ("requirements.txt", "tests/oldest.toml")]
    place = CACHE / f"venv-oldest-{hashlib.sha256(''.join(texts).encode()).hexdigest()[:12]}"
    if (place / ".complete").exists():
        return place
    pip = ("uv", "pip", "install", "--quiet", "--python", str(place / "bin/python"))
    ansible = {"ansible-core": wanted["ansible-core"], **wanted["wheel"]}
    session.run("uv", "venv", "--quiet", "--clear", "--no-python-downloads", "--python", wanted["python"], str(place))
    session.run(*pip, "--no-deps", "--require-hashes", "-r", "requirements.txt")
    session.run(*pip, "--no-deps", *(f"{name}=={version}" for name, version in ansible.items()))
    session.run(*pip, *(f"{name}=={version}" for name, version in wanted["libraries"].items()))
    (place / ".complete").touch()
    return place


def build_programs(session: nox.Session) -> None:
    """What the integration tests run beside Vault: a kube-apiserver and the linkerd CLI, built once, with progress."""
    session.run("python", "-m", "lab", "build", "kubernetes", "linkerd")


def pip_of_ansible_test() -> str:
    """The version of pip that the installed ansible-test sets up its virtual environments with."""
    import ansible_test

    source = Path(next(iter(ansible_test.__path__)), "_internal/python_requirements.py").read_text()
    (version,) = re.findall(r"\bpip='([\d.]+)'", source)
    return str(version)


def made(session: nox.Session) -> Path:
    """The artifact, built anew in the session's own folder."""
    place = Path(session.create_tmp())
    for old in place.glob("*.tar.gz"):
        old.unlink()
    session.run("ansible-galaxy", "collection", "build", "--force", "--output-path", str(place), silent=True)
    return next(place.glob("servicemesh-pki-*.tar.gz"))


def lay(session: nox.Session, artifact: Path, place: Path) -> None:
    """The artifact's files and the tests below ansible_collections, where Ansible's own tools want them."""
    import ansible_collections

    target = place / NAME
    target.mkdir(parents=True)
    session.run("tar", "-xzf", str(artifact), "-C", str(target))
    for name in ("MANIFEST.json", "FILES.json"):
        (target / name).unlink()
    listed = subprocess.run(["git", "ls-files", "-z", "galaxy.yml", "tests"], cwd=ROOT, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    installed = Path(ansible_collections.__path__[0])
    for dependency in DEPENDENCIES:
        (place / "ansible_collections" / dependency).parent.mkdir(exist_ok=True)
        (place / "ansible_collections" / dependency).symlink_to(installed / dependency)

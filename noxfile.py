# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All checks and tests, one session each. `nox --list` shows them.

The sessions use the environment that `make venv` creates, so run them with `make`. pytest gets arguments after `--`.
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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nox

sys.path.insert(0, str(Path(__file__).parent))
from lab.places import cache_root
from lab.prometheus import operator, program

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
PROSE = ["fragments", "plugins", "roles", "playbooks"]  # sources whose words are checked beside the pages
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
LONG = tuple(
    f"tests/end_to_end/test_{name}.py"
    for name in (
        *("adopt", "certificates_only", "check_verdicts", "existing_inventory", "fleet", "guides_lab", "killed_runs"),
        *("site_failures", "site_lifecycle", "vault_dev_tls"),
    )
)
ALERTS = ("tests/end_to_end/test_alerts.py", "tests/end_to_end/test_prometheus_operator.py")
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@nox.session
def lint(session: nox.Session) -> None:
    """Run ruff, yamllint, and ansible-lint with the profile production."""
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("yamllint", "--strict", ".")
    session.run("ansible-lint", "--offline", "-q")


@nox.session
def typing(session: nox.Session) -> None:
    """Run mypy --strict on module_utils and plugin_utils."""
    session.run("mypy")


@nox.session
def licences(session: nox.Session) -> None:
    """Check that every file has a copyright notice and a licence (REUSE)."""
    session.run("reuse", "lint", "--lines")


@nox.session
def changelog(session: nox.Session) -> None:
    """Check the changelog fragments."""
    session.run("antsibull-changelog", "lint")


@nox.session
def docs(session: nox.Session) -> None:
    """Check the documentation of plugins and roles, with their references to other collections."""
    options = ("--plugin-docs", "--validate-collection-refs=dependent")
    session.run("antsibull-docs", "lint-collection-docs", *options, ".", env=COLLECTIONS)


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
    """Build the documentation in .nox/docsite from guides, plugins and roles. A warning is an error."""
    html, pages = ROOT / ".nox/docsite/html", ROOT / "docs/docsite/collection"
    for folder in (html, pages):
        shutil.rmtree(folder, ignore_errors=True)
    pages.mkdir(mode=0o755)
    settings = ("--use-current", "--squash-hierarchy", "--fail-on-error", "--dest-dir", str(pages))
    session.run("antsibull-docs", "collection", *settings, "servicemesh.pki", env=COLLECTIONS)
    session.run("sphinx-build", "-q", "-E", "-W", "--keep-going", "-c", "docs/docsite", ".", str(html))


@nox.session
def unit(session: nox.Session) -> None:
    """Run the unit tests, with stand-ins for the programs that modules start."""
    session.run("pytest", "--numprocesses", "auto", "tests/unit", *session.posargs)


@nox.session
def vault(session: nox.Session) -> None:
    """Run the integration tests with a real OpenBao and a real kube-apiserver."""
    product = os.environ.get("VAULT")  # `hashicorp`, or another version of OpenBao than the pinned one
    program = session.run("python", "tests/integration/vault/products.py", product, silent=True) if product else ""
    env = {"SERVICEMESH_PKI_TEST_VAULT_PROGRAM": (str(program).splitlines() or [""])[-1]}
    build_programs(session)
    session.run("pytest", "tests/integration", *session.posargs, env=env)


@nox.session
def oldest(session: nox.Session) -> None:
    """Run the unit and integration tests with the oldest supported versions, from tests/oldest.toml."""
    versions = tomllib.loads((ROOT / "tests/oldest.toml").read_text())
    venv = oldest_environment(session, versions)
    build_programs(session)
    env = {"PATH": f"{venv / 'bin'}:{os.environ['PATH']}", "SERVICEMESH_PKI_TEST_OLDEST": "1"}
    session.run(
        str(venv / "bin/python"), "-m", "pytest", *(session.posargs or ["tests/unit", "tests/integration"]), env=env
    )


@nox.session
def debian13(session: nox.Session) -> None:
    """Run targets of the Makefile in a chroot with Debian 13, for example `-- unit sanity CORE=2.20`."""
    targets = session.posargs or ["unit", "test-vault", "sanity", "flow"]
    if "flow" in targets:
        session.run("python", "-m", "lab", "up")
    session.run("python", "tests/debian13.py", "make", *targets)


@nox.session
def flow(session: nox.Session) -> None:
    """Run site.yml twice and verify.yml in a lab that is up."""
    session.run("pytest", *(f"tests/end_to_end/test_site.py::{name}" for name in FLOW), *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the unit and integration tests, and fail if their coverage of the plugins is too low.

    Those with Vault run beside the others, and take as long. Their output follows when both have ended.
    """
    build_programs(session)
    session.run("coverage", "erase")
    pytest = ("coverage", "run", "-m", "pytest", *session.posargs)
    with tempfile.TemporaryFile("w+") as output:  # create_tmp would change TMPDIR to a path too long for sockets
        try:
            with ThreadPoolExecutor() as pool:
                vault = pool.submit(session.run, *pytest, "tests/integration/vault", stdout=output)
                session.run(*pytest, "tests/unit", "tests/integration/kubernetes", "tests/integration/report")
        finally:
            output.seek(0)
            print(output.read())
    vault.result()
    session.run("coverage", "combine", "--quiet", success_codes=[0, 1])
    session.run("coverage", "json", "-q", "-o", str(Path(session.create_tmp()) / "coverage.json"))
    session.run("coverage", "report")
    totals = json.loads((Path(session.create_tmp()) / "coverage.json").read_text())["totals"]
    covered = {
        "lines": 100 * totals["covered_lines"] / totals["num_statements"],
        "branches": 100 * totals["covered_branches"] / totals["num_branches"],
    }
    session.log(", ".join(f"{name} {percent:.1f} %" for name, percent in covered.items()))
    too_low = [name for name, minimum in COVERAGE.items() if covered[name] < minimum]
    if too_low:
        session.error(f"The coverage of {' and '.join(too_low)} is too low. The minimum in percent is {COVERAGE}.")


@nox.session
def webpki(session: nox.Session) -> None:
    """Compare the profile linkerd with the Rust crates that Linkerd's proxies use. Requires cargo."""
    session.run("pytest", "-m", "rust", "tests/unit/x509", *session.posargs)


@nox.session
def lab(session: nox.Session) -> None:
    """Build the lab and run the end-to-end tests in it, without those of `lab_long` and `prometheus`."""
    session.run("python", "-m", "lab", "up")
    session.run("pytest", "tests/end_to_end", *(f"--ignore={path}" for path in (*LONG, *ALERTS)), *session.posargs)


@nox.session
def lab_long(session: nox.Session) -> None:
    """Build the lab and run the end-to-end tests of moves to Vault, failures and removal in it."""
    session.run("python", "-m", "lab", "up")
    session.run("pytest", *(session.posargs or LONG))


@nox.session
def chaos(session: nox.Session) -> None:
    """Rotate the trust anchor seven times, and end a run with SIGKILL 24 times. Takes about an hour."""
    session.run("python", "-m", "lab", "up")
    test, env = "tests/end_to_end/test_killed_runs.py", {"SERVICEMESH_PKI_TEST_ROTATIONS": "7"}
    session.run("pytest", "-s", test, *session.posargs, env=env)


@nox.session
def molecule(session: nox.Session) -> None:
    """Run the Molecule scenarios in the lab. `-- NAME` runs one of them."""
    session.run("python", "-m", "lab", "up")
    for name in session.posargs or sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")):
        session.run("molecule", "test", "-s", name)


@nox.session
def build(session: nox.Session) -> None:
    """Build the artifact for Galaxy."""
    build_artifact(session)


@nox.session
def galaxy(session: nox.Session) -> None:
    """Check the artifact with galaxy-importer, as Galaxy and Automation Hub do."""
    artifact = build_artifact(session)
    env = {"GALAXY_IMPORTER_CHECK_REQUIRED_TAGS": "true"}
    output = session.run("python", "-m", "galaxy_importer.main", str(artifact), env=env, silent=True)
    session.log(output)
    problems = [line for line in str(output).splitlines() if line.startswith(("WARNING", "ERROR"))]
    if problems:
        session.error("\n".join(problems))


@nox.session
def sanity(session: nox.Session) -> None:
    """Run ansible-test sanity on the artifact and its tests, without ignore files."""
    folder = CACHE / "sanity"
    shutil.rmtree(folder / "ansible_collections", ignore_errors=True)
    cache = folder / "home" / ".ansible/test/cache"
    cache.mkdir(parents=True, exist_ok=True)
    # Otherwise ansible-test downloads pip from a server that some machines cannot reach.
    shutil.copy(ROOT / "tests/pip_bootstrap.py", cache / f"get_pip_{pip_of_ansible_test().replace('.', '_')}.py")
    unpack_artifact(session, build_artifact(session), folder)
    with session.chdir(folder / NAME):
        session.run("ansible-test", "sanity", "--python", PYTHON, "--color", "no", *session.posargs,
                    env={"HOME": str(folder / "home")})  # fmt: skip


@nox.session
def workflow(session: nox.Session) -> None:
    """Check the GitHub workflow with actionlint. Requires Go."""
    session.run("go", "run", ACTIONLINT)


@nox.session
def alerts(session: nox.Session) -> None:
    """Check metrics, alerts and dashboard with promtool. Requires Go; the first build takes about 15 minutes."""
    validator = Path(session.create_tmp()).resolve() / "dashboard_schema"  # a rebuild without changes takes a second
    with session.chdir("tests/alerts/dashboard_schema"):
        session.run("nice", "-n", "10", "go", "build", "-trimpath", "-o", str(validator), ".")
    env = {
        "SERVICEMESH_PKI_PROMTOOL": str(program("promtool")),
        "SERVICEMESH_PKI_DASHBOARD_VALIDATOR": str(validator),
    }
    session.run("pytest", "tests/alerts", *session.posargs, env=env)


@nox.session
def prometheus(session: nox.Session) -> None:
    """Run Prometheus with reports made for the tests and with a mesh of the lab, and the Prometheus operator."""
    programs = {"PROMETHEUS": program("prometheus"), "PROMTOOL": program("promtool"), "PROMETHEUS_OPERATOR": operator()}
    env = {f"SERVICEMESH_PKI_{name}": str(path) for name, path in programs.items()}
    session.run("python", "-m", "lab", "up")
    session.run("pytest", "tests/prometheus", *session.posargs, env=env)
    session.run("pytest", *ALERTS, *session.posargs, env=env)


@nox.session
def ee(session: nox.Session) -> None:
    """Check that ansible-builder can create an execution environment, up to the build of the image."""
    folder = Path(session.create_tmp())
    artifact = build_artifact(session)
    definition = f"""
version: 3
dependencies:
  galaxy: {{collections: [{{name: {artifact.name}, type: file}}]}}
"""
    (folder / "execution-environment.yml").write_text(definition)
    with session.chdir(folder):
        session.run("ansible-builder", "create", "--output-filename", "Containerfile")
    unpacked = folder / "collections"
    shutil.rmtree(unpacked, ignore_errors=True)
    unpack_artifact(session, artifact, unpacked)
    outputs = ("--write-pip", str(folder / "pip.txt"), "--write-bindep", str(folder / "bindep.txt"))
    session.run("ansible-builder", "introspect", str(unpacked), *outputs)
    required = set(re.findall(r"^[a-z]\w*", (ROOT / "meta/ee-requirements.txt").read_text(), re.M))
    missing = required - set(re.findall(r"^[A-Za-z]\w*", (folder / "pip.txt").read_text(), re.M))
    if missing:
        session.error(f"ansible-builder does not find these requirements: {', '.join(sorted(missing))}")


@nox.session
def mutation(session: nox.Session) -> None:
    """Run mutmut on the code for certificates and drift, and report surviving mutants. Takes hours."""
    folder = CACHE / "mutation"
    shutil.rmtree(folder, ignore_errors=True)
    unpack_artifact(session, build_artifact(session), folder)
    copy = folder / "mutants" / NAME / ".collections/ansible_collections/servicemesh"
    copy.mkdir(parents=True)
    (copy / "pki").symlink_to("../../..")
    (folder / "setup.cfg").write_text(MUTMUT)
    with session.chdir(folder):
        session.run("mutmut", "run", *session.posargs, env={"PYTHONPATH": str(ROOT)})  # for the package lab
        results = str(session.run("mutmut", "results", silent=True))
    session.log(results)
    session.log(f"{results.count(': survived')} survived")


def oldest_environment(session: nox.Session, versions: dict[str, Any]) -> Path:
    """Create the virtual environment of `make venv` with the oldest supported versions, and return its folder."""
    texts = [(ROOT / name).read_text() for name in ("requirements.txt", "tests/oldest.toml")]
    venv = CACHE / f"venv-oldest-{hashlib.sha256(''.join(texts).encode()).hexdigest()[:12]}"
    if (venv / ".complete").exists():
        return venv
    pip = ("uv", "pip", "install", "--quiet", "--python", str(venv / "bin/python"))
    ansible = {"ansible-core": versions["ansible-core"], **versions["wheel"]}
    session.run("uv", "venv", "--quiet", "--clear", "--no-python-downloads", "--python", versions["python"], str(venv))
    session.run(*pip, "--no-deps", "--require-hashes", "-r", "requirements.txt")
    session.run(*pip, "--no-deps", *(f"{name}=={version}" for name, version in ansible.items()))
    session.run(*pip, *(f"{name}=={version}" for name, version in versions["libraries"].items()))
    (venv / ".complete").touch()
    return venv


def build_programs(session: nox.Session) -> None:
    """Build the kube-apiserver and the Linkerd CLI that the integration tests run, if they are missing."""
    session.run("python", "-m", "lab", "build", "kubernetes", "linkerd")


def pip_of_ansible_test() -> str:
    """The version of pip that the installed ansible-test uses in its virtual environments."""
    import ansible_test

    source = Path(next(iter(ansible_test.__path__)), "_internal/python_requirements.py").read_text()
    (version,) = re.findall(r"\bpip='([\d.]+)'", source)
    return str(version)


def build_artifact(session: nox.Session) -> Path:
    """Build the artifact in the temporary folder of the session, and return its path."""
    folder = Path(session.create_tmp())
    for old in folder.glob("*.tar.gz"):
        old.unlink()
    session.run("ansible-galaxy", "collection", "build", "--force", "--output-path", str(folder), silent=True)
    return next(folder.glob("servicemesh-pki-*.tar.gz"))


def unpack_artifact(session: nox.Session, artifact: Path, folder: Path) -> None:
    """Unpack the artifact with the tests and dependencies into `folder`/ansible_collections, for Ansible's tools."""
    import ansible_collections

    target = folder / NAME
    target.mkdir(parents=True)
    session.run("tar", "-xzf", str(artifact), "-C", str(target))
    for name in ("MANIFEST.json", "FILES.json"):
        (target / name).unlink()
    command = ["git", "ls-files", "-z", "galaxy.yml", "tests"]
    listed = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    installed = Path(ansible_collections.__path__[0])
    for dependency in DEPENDENCIES:
        (folder / "ansible_collections" / dependency).parent.mkdir(exist_ok=True)
        (folder / "ansible_collections" / dependency).symlink_to(installed / dependency)

# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules for the whole collection: its artifact, files, roles and documentation."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "servicemesh.pki."
BIN = Path(sys.executable).parent
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))
HEADER = (
    "# Copyright (c) 2026 The servicemesh.pki authors",
    "# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or "
    "https://www.gnu.org/licenses/gpl-3.0.txt)",
    "# SPDX-License" + "-Identifier: GPL-3.0-or-later",  # split, because reuse would read it as a header
)
NOT_SHIPPED = ("lab", "tests", "bench", "molecule", ".ci", ".collections", ".git", "Makefile", "inventories/lab")
MACHINE_PATH = re.compile(r"(?:^|[\s\"'=:(`,])/(?:root|work)/[\w.]", re.MULTILINE)


def tracked() -> list[Path]:
    """The files in Git, without symbolic links and files that are deleted in this checkout."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def name(path: Path) -> str:
    """The path relative to the checkout."""
    return str(path.relative_to(ROOT))


def run(*command: str, **options: Any) -> subprocess.CompletedProcess:
    env = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1"}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, **options, check=False)


@pytest.fixture(scope="module")
def pages() -> dict[str, dict[str, Any]]:
    """The documentation of all plugins as ansible-doc returns it, by kind and name."""
    found = {}
    for kind in ("module", "filter", "test", "connection"):
        done = run("ansible-doc", "--json", "--metadata-dump", "--type", kind, "servicemesh.pki")
        assert done.returncode == 0, done.stderr
        found[kind] = json.loads(done.stdout)["all"][kind]
    return found


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names of the files in the artifact."""
    folder = tmp_path_factory.mktemp("artifact")
    done = run("ansible-galaxy", "collection", "build", "--output-path", str(folder))
    assert done.returncode == 0, done.stderr
    with tarfile.open(next(folder.glob("servicemesh-pki-*.tar.gz"))) as tar:
        return [member.name for member in tar.getmembers()]


def test_artifact_excludes_lab_and_tests(artifact):
    unwanted = [one for one in artifact if any(one == bad or one.startswith(f"{bad}/") for bad in NOT_SHIPPED)]
    assert unwanted == []


def test_artifact_contains_plugins_roles_and_playbooks(artifact):
    required = {"MANIFEST.json", "README.md", "LICENSE", "meta/runtime.yml"}
    required |= {f"plugins/modules/{module}.py" for module in MODULES}
    required |= {f"roles/{role}/meta/argument_specs.yml" for role in ROLES}
    required |= {name(path) for path in (ROOT / "playbooks").glob("*.yml")}
    assert required <= set(artifact)


def test_command_of_the_readme_installs_a_clone(tmp_path):
    """ansible.cfg of the clone lists the clone as installed, so the folder in which the command runs matters."""
    (command,) = re.findall(r"`(ansible-galaxy collection install \S*[./]\S*)`", (ROOT / "README.md").read_text())
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(tmp_path / "pki")], check=True)
    env = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    env |= {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(tmp_path / "home")}
    offline = [*command.split(), "--no-deps", "--offline"]
    for arguments in (offline, [*offline, "--upgrade"]):
        subprocess.run(arguments, cwd=tmp_path, env=env, check=True)
    installed = tmp_path / "home/.ansible/collections/ansible_collections/servicemesh/pki"
    assert (installed / "inventories/existing").is_dir()


def test_ansible_doc_renders_every_plugin(pages):
    assert set(pages["module"]) == {PREFIX + module for module in MODULES}
    for kind in ("filter", "test"):
        assert set(pages[kind]) == {PREFIX + path.stem for path in (ROOT / "plugins" / kind).glob("*.yml")}
    assert set(pages["connection"]) == {PREFIX + path.stem for path in (ROOT / "plugins/connection").glob("*.py")}
    broken = {one: page["error"] for kind in pages.values() for one, page in kind.items() if "error" in page}
    assert broken == {}


def test_plugin_documentation_is_complete(pages):
    for kind, found in pages.items():
        for plugin, page in found.items():
            assert page["examples"], plugin
            assert page["return"] or kind == "connection", plugin
            assert page["doc"]["version_added"], plugin
            if kind == "module":
                assert {"check_mode", "diff_mode", "idempotent"} <= set(page["doc"]["attributes"]), plugin


def test_action_groups_match_documentation(pages):
    groups = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["action_groups"]
    listed = {PREFIX + group: {PREFIX + module for module in modules} for group, modules in groups.items()}
    documented: dict[str, set[str]] = {}
    for module, page in pages["module"].items():
        for group in page["doc"]["attributes"].get("action_group", {}).get("membership", []):
            documented.setdefault(group, set()).add(module)
    for group, modules in listed.items():
        assert modules <= set(pages["module"]), group
        assert documented.get(group, set()) <= modules, group
    assert set(documented) <= set(listed)
    assert documented[f"{PREFIX}vault"] == listed[f"{PREFIX}vault"]


def test_every_source_file_has_license_header():
    without = []
    for path in tracked():
        if path.suffix in (".py", ".yml", ".yaml", ".go", ".sh"):
            head = [re.sub("^//", "#", line) for line in path.read_text().splitlines()[:5]]
            if not any(tuple(head[start : start + 3]) == HEADER for start in range(3)):
                without.append(name(path))
    # The first is generated, the second has a key for the licence.
    assert set(without) <= {"changelogs/changelog.yaml", "galaxy.yml"}


def test_files_have_at_most_400_lines():
    folders = ("plugins/", "roles/", "playbooks/", "lab/")
    long = [
        name(path)
        for path in tracked()
        if name(path).startswith(folders)
        and path.suffix in (".py", ".yml")
        and len(path.read_text().splitlines()) > 400
    ]
    assert long == []


def test_files_contain_no_machine_paths():
    found = {}
    for path in set(tracked()) - {Path(__file__)}:
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        hit = MACHINE_PATH.search(text)
        if hit:
            found[name(path)] = hit.group().strip()
    assert found == {}


@pytest.mark.parametrize("text", ["cd /" + "work/main", "path: /" + "root/.cache", '"/' + 'root/x"'])
def test_machine_path_is_found(text):
    assert MACHINE_PATH.search(text)


@pytest.mark.parametrize("text", ["pki/root/generate", "{{ mount }}/root/sign", "/pki/root/sign", "work/me"])
def test_path_in_vault_is_no_machine_path(text):
    assert not MACHINE_PATH.search(text)


def load(role: str, path: str) -> Any:
    return yaml.safe_load((ROOT / "roles" / role / path).read_text())


@pytest.mark.parametrize("role", ROLES)
def test_role_defaults_match_argument_specs(role):
    options = load(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    defaults = load(role, "defaults/main.yml") or {}
    # ansible-doc rejects templates as defaults of a dict, list or number, so the description names the variable.
    templates = {key for key, value in defaults.items() if options[key]["type"] not in TEXTS and "{{" in str(value)}
    for key in templates:
        assert re.search(r"C\(pki_\w+\)", str(options[key].pop("description"))), key
        options[key] |= {"default": defaults[key], "description": "checked"}
    assert {key: option["default"] for key, option in options.items() if "default" in option} == defaults
    for key, option in options.items():
        assert key.startswith(f"{role}_"), key
        assert option["description"], key
        assert ("default" in option) != bool(option.get("required")), f"{key} needs either a default or required: true"


@pytest.mark.parametrize("role", ROLES)
def test_internal_role_variables_have_prefix(role):
    path = ROOT / "roles" / role / "vars" / "main.yml"
    internal = (yaml.safe_load(path.read_text()) or {}) if path.exists() else {}
    assert [key for key in internal if not key.startswith(f"__{role}_")] == []


@pytest.mark.parametrize("role", ROLES)
def test_role_variables_are_used(role):
    texts = [path.read_text() for part in ("tasks", "vars", "templates", "handlers", "defaults")
             for path in (ROOT / "roles" / role / part).glob("*")]  # fmt: skip
    everything = "\n".join(texts)
    unused = [key for key in load(role, "defaults/main.yml") if len(re.findall(rf"\b{key}\b", everything)) < 2]
    assert unused == []


TEXTS = ("str", "path")
HELPERS = ("helm_release", "kubernetes_objects", "preflight")  # roles whose results other roles read
SWITCHES = ("pki_with_k3d", "pki_with_vault_dev", "vault_dev_tls")


@pytest.mark.parametrize("role", ROLES)
def test_roles_convert_switches_to_bool(role):
    """`-e switch=false` sets the string "false". A condition rejects it, and an expression treats it as true."""
    options = load(role, "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    switches = [option for option, entry in options.items() if entry["type"] == "bool"]
    files = [path for part in ("tasks", "vars") for path in (ROOT / "roles" / role / part).glob("*.yml")]
    assert [line for path in files for line in uses_without_bool(switches, path)] == []


@pytest.mark.parametrize("playbook", sorted((ROOT / "playbooks").glob("*.yml")), ids=lambda path: path.name)
def test_playbooks_convert_switches_to_bool(playbook):
    assert uses_without_bool(SWITCHES, playbook) == []


def uses_without_bool(switches: Iterable[str], path: Path) -> list[str]:
    """Lines that use a switch without `| bool`, except as a value of a module option or keyword, which convert it."""
    used = re.compile(rf"(?<![\w.])({'|'.join(switches)})\b(?! \| (?:default\(false\) \| )?bool)") if switches else None
    given = re.compile(r'^\s+\w+: ("\{\{ \w+ \}\}"|true|false)$')
    lines = path.read_text().splitlines() if used else []
    return [f"{name(path)}: {line.strip()}" for line in lines if used.search(line) and not given.match(line)]


@pytest.mark.parametrize("role", ROLES)
def test_role_does_not_use_variables_of_other_roles(role):
    others = [other for other in ROLES if other not in (role, *HELPERS)]
    for path in (ROOT / "roles" / role / "tasks").glob("*.yml"):
        for other in others:
            for line in path.read_text().splitlines():
                used = re.search(rf"{{{{[^}}]*\b_*{other}_\w+", line)
                assert not used, f"{path.name} of {role} uses {used.group() if used else ''}"


# Inventories set the validity of the Certificate there, and Vault refuses another one. Alerts are about what other
# roles have installed.
SHARED = {
    "vault_issuer": {"linkerd_identity_duration"},
    "monitoring": {
        "cert_manager_namespace",
        "trust_manager_namespace",
        "linkerd_identity_duration",
        "linkerd_identity_renew_before",
    },
}


@pytest.mark.parametrize("role", ROLES)
def test_defaults_do_not_refer_to_variables_of_other_roles(role):
    """They refer to those of the collection, because a role works alone."""
    values = [*(load(role, "defaults/main.yml") or {}).values()]
    if (ROOT / "roles" / role / "vars/main.yml").exists():
        values += [*(load(role, "vars/main.yml") or {}).values()]
    templates = re.findall(r"{{.*?}}", json.dumps(values))
    used = {word for template in templates for word in re.findall(r"\w+", template)}
    others = {key for other in ROLES if other not in (role, *HELPERS) for key in load(other, "defaults/main.yml") or {}}
    assert used & others == SHARED.get(role, set())


def test_readme_names_every_plugin_and_role():
    text = (ROOT / "README.md").read_text()
    plugins = [path.stem for kind in ("filter", "test") for path in (ROOT / "plugins" / kind).glob("*.yml")]
    plugins += [path.stem for path in (ROOT / "plugins/connection").glob("*.py")]
    assert [one for one in [*MODULES, *ROLES, *plugins] if one not in text] == []


def test_links_between_pages_exist():
    broken = []
    for page in [path for path in tracked() if path.suffix == ".md"]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if not re.match(r"\w+:", target) and not (page.parent / target).exists():
                broken.append(f"{name(page)}: {target}")
    assert broken == []


def test_released_fragments_contain_nothing_new():
    """antsibull-changelog reads a fragment for one release only, so an entry that is added later is never published."""
    folder, added = ROOT / "changelogs", []
    for version, release in yaml.safe_load((folder / "changelog.yaml").read_text())["releases"].items():
        for fragment in release["fragments"]:
            sections = yaml.safe_load((folder / "fragments" / fragment).read_text())
            for section in set(sections) - {"trivial"}:
                published = release["changes"].get(section, [])
                entries = sections[section] if isinstance(sections[section], list) else [sections[section]]
                added += [f"{version} {fragment}: {entry}" for entry in entries if entry not in published]
    assert added == []


def test_changelog_fragments_are_valid():
    done = run("antsibull-changelog", "lint")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("scenario", sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")))
def test_molecule_steps_have_playbooks(scenario):
    """Molecule skips a step without a playbook, and reports success."""
    folder = ROOT / "molecule" / scenario
    shared, own = (
        yaml.safe_load(path.read_text()) or {}
        for path in (ROOT / ".config/molecule/config.yml", folder / "molecule.yml")
    )
    settings = {**shared, **own}
    named = {**shared["ansible"]["playbooks"], **settings["ansible"].get("playbooks", {})}
    alike = {"idempotence": "converge", "check": "converge"}
    for action, *playbooks in (step.split() for step in settings["scenario"]["test_sequence"]):
        action = alike.get(action, action)
        assert action != "side_effect" or "side_effect" in named
        for playbook in playbooks or [named.get(action, f"{action}.yml")]:
            assert (folder / playbook).resolve().is_file(), (action, playbook)

# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files in docs/monitoring that run the verification on a schedule. The guide shows the same text."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml
from kubernetes import client

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "docs/monitoring"
GUIDE = (ROOT / "docs/guides/monitoring.md").read_text()
FILES = sorted(path.name for path in FOLDER.iterdir())
BIN = Path(sys.executable).parent
RUN = re.compile(r"ansible-playbook (\S+) -i (\S+)((?: -e \S+=\S+)+)")
INVENTORY = """
all:
  vars: {ansible_connection: local, ansible_python_interpreter: PYTHON, pki_verify_wait: 1}
  children:
    vault: {hosts: {vault: {pki_vault_address: "https://127.0.0.1:1"}}}
    clusters: {hosts: {berlin: {pki_kubernetes: {kubeconfig: /nonexistent}, pki_environment: {PATH: /usr/bin:/bin}}}}
"""


def text(name: str) -> str:
    """The content of a file without the lines of comments."""
    return "".join(line for line in (FOLDER / name).read_text().splitlines(True) if not line.startswith("#"))


def unit_file(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # systemd distinguishes upper and lower case
    parser.read_string(text(name))
    return parser


def manifests(name: str) -> list[dict]:
    found = yaml.safe_load(text(name))
    return found["items"] if found["kind"] == "List" else [found]


def test_guide_links_every_file():
    assert set(re.findall(r"\(\.\./monitoring/([^)]+)\)", GUIDE)) == set(FILES)


CRON = ["mesh-report.cron", "mesh-credential.cron"]


@pytest.mark.parametrize("name", [*CRON, "mesh-report.service", "mesh-report.timer", "push-metrics.yml"])
def test_guide_shows_file(name):
    assert f"\n{text(name).removeprefix('---').lstrip()}```\n" in GUIDE


def test_guide_shows_manifests():
    shown = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(apiVersion: .*?)```$", GUIDE, re.M | re.S)]
    assert {one["kind"] for one in shown} == {"ClusterRole", "Role", "CronJob"}
    for one in shown:
        assert one in manifests("rbac.yml") + manifests("cronjob.yml")


@pytest.mark.parametrize("name", ["mesh-report.cron", "mesh-report.service", "cronjob.yml"])
def test_command_names_existing_playbook_and_variables(name):
    [(playbook, dummy, extra)] = RUN.findall(text(name))
    assert (ROOT / "playbooks" / f"{playbook.removeprefix('servicemesh.pki.')}.yml").exists()
    content = (ROOT / "playbooks/verify.yml").read_text()
    variables = re.findall(r" -e (\w+)=", extra)
    assert "pki_report_dir" in variables
    assert [variable for variable in variables if variable not in content] == []


@pytest.mark.parametrize("name", CRON)
def test_cron_file_has_path_and_one_line_of_user_and_command(name):
    path, line = text(name).splitlines()
    assert path.startswith("PATH=/")
    minute, hour, day, month, weekday, user, command = line.split(maxsplit=6)
    assert 0 <= int(minute) < 60
    assert (hour == "*" or 0 <= int(hour) < 24, day, month, weekday) == (True, "*", "*", "*")
    assert user == "mesh"
    assert re.match(r"timeout \d+[mh] ansible-playbook ", command)
    assert "%" not in command, "cron replaces it with a line break"


def test_schedules_run_the_same_command():
    service = unit_file("mesh-report.service")["Service"]
    assert f"mesh timeout 30m {service['ExecStart']} >" in text("mesh-report.cron")
    assert f"/var/lib/{service['StateDirectory']}" in service["ExecStart"]


def test_schedules_stop_a_run_that_hangs():
    """Otherwise cron would start more runs beside it, and the CronJob none."""
    [job] = manifests("cronjob.yml")
    assert job["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"] == 30 * 60
    assert unit_file("mesh-report.service")["Service"]["TimeoutStartSec"] == "30min"
    lines = [line for line in GUIDE.splitlines() if re.match(r"\d+ \d*\S* \* \* \* ", line)]
    assert len(lines) == 2
    assert [line for line in lines if not re.search(r" mesh timeout \d+[mh] ansible-playbook ", line)] == []


def test_schedule_of_the_credential_runs_an_existing_tag():
    [tag] = re.findall(r" servicemesh\.pki\.site .* --tags (\w+) ", text("mesh-credential.cron"))
    assert f"tags: {tag}\n" in (ROOT / "playbooks/tasks/mesh/all.yml").read_text()


def test_timer_starts_the_service():
    service, timer = unit_file("mesh-report.service"), unit_file("mesh-report.timer")
    assert (service["Service"]["Type"], service["Service"]["User"]) == ("oneshot", "mesh")
    assert timer["Timer"]["OnCalendar"] == "hourly"
    assert timer["Install"]["WantedBy"] == "timers.target"
    assert "Unit" not in timer["Timer"]  # then a timer starts the service of the same name


def test_systemd_accepts_units(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("platform: no systemd-analyze")
    for name in ("mesh-report.service", "mesh-report.timer"):  # the program must exist
        content = (FOLDER / name).read_text().replace("=ansible-playbook ", "=/bin/true ")
        (tmp_path / name).write_text(content)
    command = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no"]
    files = [str(tmp_path / "mesh-report.service"), str(tmp_path / "mesh-report.timer")]
    done = subprocess.run([*command, *files], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "mesh-report" in done.stderr) == (0, False), done.stderr
    (tmp_path / "mesh-report.timer").write_text("[Timer]\nOnCalendar=never-valid\n")
    done = subprocess.run([*command, files[1]], capture_output=True, text=True, timeout=60, check=False)
    assert "OnCalendar" in done.stderr or "never-valid" in done.stderr, done.stderr


MODELS = {
    "ServiceAccount": client.V1ServiceAccount, "ClusterRole": client.V1ClusterRole, "Role": client.V1Role,
    "ClusterRoleBinding": client.V1ClusterRoleBinding, "RoleBinding": client.V1RoleBinding, "CronJob": client.V1CronJob,
}  # fmt: skip


@pytest.mark.parametrize("manifest", manifests("rbac.yml") + manifests("cronjob.yml"), ids=lambda one: one["kind"])
def test_client_reads_every_field_of_manifest(manifest):
    model = MODELS[manifest["kind"]].__name__
    api = client.ApiClient()
    found = api._ApiClient__deserialize(manifest, model)  # type: ignore[attr-defined]
    assert api.sanitize_for_serialization(found) == manifest


def test_bindings_name_roles_and_the_service_account_of_the_cron_job():
    objects = {(one["kind"], one["metadata"]["name"]): one for one in manifests("rbac.yml")}
    [job] = manifests("cronjob.yml")
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    account = objects["ServiceAccount", pod["serviceAccountName"]]
    bindings = [one for one in objects.values() if one["kind"].endswith("Binding")]
    assert len(bindings) == 2
    for one in bindings:
        assert (one["roleRef"]["kind"], one["roleRef"]["name"]) in objects
        assert one["subjects"] == [{"kind": "ServiceAccount", **account["metadata"]}]
    assert {verb for one in objects.values() for rule in one.get("rules", []) for verb in rule["verbs"]} == {
        "get",
        "list",
    }
    assert account["metadata"]["namespace"] == job["metadata"]["namespace"]


def lay_out(folder: Path, source: Path, volume: dict) -> None:
    """Write the files of a ConfigMap as a kubelet does: in a hidden folder, with links to their first parts."""
    [(name, files)] = re.findall(r"^kubectl create configmap (\S+) -n \S+ (.*)$", GUIDE, re.M)
    assert name == volume["configMap"]["name"]
    keys = {}
    for given in re.findall(r"--from-file=(\S+)", files):
        key, dummy, path = given.rpartition("=")
        keys[key or Path(path).name] = (source / path).read_text()
    assert all(re.fullmatch(r"[-._a-zA-Z0-9]+", key) for key in keys)
    hidden = folder / "..2026_11_27"
    for item in volume["configMap"]["items"]:
        (hidden / item["path"]).parent.mkdir(parents=True, exist_ok=True)
        (hidden / item["path"]).write_text(keys.pop(item["key"]))
    assert keys == {}
    (folder / "..data").symlink_to(hidden.name)
    for one in hidden.iterdir():
        (folder / one.name).symlink_to(Path("..data", one.name))


def test_cron_job_reads_the_variables_of_the_inventory(tmp_path):
    [job] = manifests("cronjob.yml")
    [volume] = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["volumes"]
    source = ROOT / "inventories/existing"
    lay_out(tmp_path, source, volume)
    found = {}
    for folder in (source, tmp_path):
        command = [BIN / "ansible-inventory", "-i", folder, "--host", "production"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
        found[folder] = json.loads(done.stdout)
    assert found[tmp_path]["pki_vault_address"] == "https://vault.example.com:8200"
    assert found[tmp_path] == found[source]


# A user that is in no passwd file, as in a container. It can read the programs wherever they are.
UNKNOWN_USER = (
    "setpriv", "--reuid=65533", "--regid=65533", "--clear-groups", "--inh-caps=+dac_read_search",
    "--ambient-caps=+dac_read_search",
)  # fmt: skip


def test_cron_job_writes_metrics_as_a_user_without_home():
    """A container runtime sets HOME=/ for a user that is not in /etc/passwd, as in the images of ansible-builder."""
    if subprocess.run([*UNKNOWN_USER, "true"], capture_output=True, check=False).returncode:
        pytest.skip("platform: setpriv cannot start a program as another user")
    [job] = manifests("cronjob.yml")
    [container] = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert "command" not in container, "it would replace the entry point of the image, which adds the user"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        (folder / "hosts.yml").write_text(INVENTORY.replace("PYTHON", sys.executable))
        [shell, option, script] = container["args"]
        for given, here in (("/inventory", "hosts.yml"), ("/tmp/report", "report")):
            script = re.sub(rf"{given}\b", str(folder / here), script)
        environment = {"PATH": f"{BIN}:{os.environ['PATH']}", "LANG": "C.UTF-8", "HOME": "/"}
        environment |= {"ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections")}
        # /tmp of a container is new. That of this machine may have files of another user.
        environment |= {one["name"]: one["value"].replace("/tmp", name) for one in container.get("env", [])}
        done = subprocess.run(
            [*UNKNOWN_USER, shell, option, script.replace("curl ", "echo ")], cwd=folder, env=environment,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert (folder / "report/report.prom").is_file(), done.stdout + done.stderr
        assert f"--upload-file {folder}/report/report.prom http" in done.stdout
        failed = 'code="linkerd_check",allowed="false"} 1'
        assert failed not in (folder / "report/report.prom").read_text(), "rbac.yml does not permit linkerd check"


def test_cron_job_replaces_the_metrics_of_its_cluster():
    """An upload to a group without the cluster would replace those of other clusters."""
    [url] = re.findall(r"https?://\S+", text("cronjob.yml"))
    inventory = yaml.safe_load((ROOT / "inventories/existing/hosts.yml").read_text())
    [cluster] = inventory["all"]["children"]["clusters"]["hosts"]
    assert url.endswith(f"/metrics/job/mesh-report/instance/{cluster}")


class Pushgateway(BaseHTTPRequestHandler):
    """A stand-in for the Pushgateway that records requests."""

    requests: list[tuple[str, str]] = []

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.requests.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *dummy: object) -> None:
        """Print nothing."""


def test_playbook_sends_metrics_of_a_verification_with_disagreements(tmp_path):
    """Nothing responds in this inventory, so the report has disagreements. They must not prevent the request."""
    server = HTTPServer(("127.0.0.1", 0), Pushgateway)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "inventory.yml").write_text(INVENTORY.replace("PYTHON", sys.executable))
    (tmp_path / "playbook.yml").write_text(
        (FOLDER / "push-metrics.yml").read_text().replace("/tmp/mesh-report", str(tmp_path / "report"))
    )
    url = f"pushgateway_url=http://127.0.0.1:{server.server_port}"
    done = subprocess.run(
        [BIN / "ansible-playbook", "-i", tmp_path / "inventory.yml", tmp_path / "playbook.yml", "-e", url],
        cwd=ROOT, env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    server.shutdown()
    [(path, body)] = Pushgateway.requests
    assert path == "/metrics/job/mesh-report"
    assert 'code="vault_unreadable",allowed="false"} 1\n' in body
    assert done.returncode == 2, done.stdout + done.stderr
    assert re.search(r"TASK \[Fail if there are disagreements\].*\[vault_unreadable\]", done.stdout + done.stderr, re.S)

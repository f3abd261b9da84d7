# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""site.yml and teardown.yml change nothing of others on clusters with their components, trust anchors and traffic."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager

import pytest
from support.existing import APP, Existing
from support.lab import until


@pytest.fixture(scope="module")
def company():
    with Existing.sandbox() as company:
        company.create()
        yield company


def codes(run) -> list[str]:
    """The codes of the problems, in the message that ends the run."""
    message = run.flat.rpartition("must be solved first")[2].partition("PLAY RECAP")[0]
    return re.findall(r"\[([a-z_]+)\] [\w-]+:", message)


def releases(company) -> set[str]:
    return set(company.run("helm", "list", "--all-namespaces", "--short").split())


def assert_refused(company, run, *expected: str) -> None:
    assert (run.rc != 0, run.changed) == (True, 0), run.output[-4000:]
    assert codes(run) == list(expected), run.output[-4000:]
    assert "teardown" not in run.flat


@pytest.fixture(scope="module")
def in_use(company):
    """(a): cert-manager and trust-manager of others with Helm, Linkerd with its CLI, and an application."""
    company.install_managers()
    company.install_linkerd_with_its_cli()
    company.install_application()
    return company


EXPECTED = ("identity_in_release", "identity_in_release")


def test_linkerd_of_its_cli_is_not_touched_and_every_decision_is_listed_at_once(in_use):
    before = in_use.settled()
    with in_use.traffic() as traffic:
        for arguments in (("--check", "--diff"), ()):
            run = in_use.play("playbooks/site.yml", *arguments)
            assert_refused(in_use, run, *EXPECTED)
    assert "adopt.yml" in run.flat
    after = in_use.settled()
    assert [name for name in {*before, *after} if before.get(name) != after.get(name)] == []
    assert "pki/" not in in_use.vault("GET", "sys/mounts", None, in_use.token)[1]["data"]
    assert traffic.sent > 5
    assert traffic.failed == []
    print(f"{traffic.sent} requests, {len(traffic.failed)} failed")


def test_a_wrong_namespace_of_linkerd_is_found(in_use):
    """The webhooks of Linkerd show where it runs."""
    run = in_use.play("playbooks/site.yml", variables={"pki_linkerd_namespace": "mesh"})
    assert (run.rc != 0, run.changed) == (True, 0), run.output[-4000:]
    assert "linkerd_elsewhere" in codes(run), run.output[-4000:]
    assert "mesh" not in in_use.kubectl("get", "namespaces", "-o", "name").replace("namespace/", "").split()


def test_teardown_leaves_and_lists_all_of_it(in_use):
    before = in_use.settled()
    with in_use.traffic() as traffic:
        run = in_use.play("playbooks/teardown.yml", "-e", "pki_confirm=yes")
    assert run.rc == 0, run.output[-4000:]
    for named in ("cert-manager/cert-manager", "cert-manager/trust-manager"):
        assert named in run.flat, named
    after = in_use.settled()
    assert [name for name in {*before, *after} if before.get(name) != after.get(name)] == []
    assert traffic.failed == []


@pytest.fixture(scope="module")
def shared(in_use):
    """Only cert-manager and trust-manager of others are left, and site.yml has installed Linkerd beside them."""
    in_use.remove_linkerd_of_its_cli()
    until(lambda: in_use.execute("kubectl", "get", "namespace", "linkerd").returncode != 0)
    in_use.mark_gateway_api("v9.9.9", "experimental")
    before = in_use.settled()
    run = in_use.play("playbooks/site.yml")
    assert run.rc == 0, run.output[-4000:]
    in_use.before_linkerd = before
    in_use.first = run
    return in_use


def test_shared_managers_are_used_as_they_are(shared):
    after = shared.settled()
    # trust-manager and cert-manager work for the mesh now, and nothing else of them changes.
    own = ("ConfigMap", "CustomResourceDefinition", "Namespace", "ServiceAccount", "Secret", "Deployment", "Bundle",
           "ReplicaSet", "Pod", "Role")  # fmt: skip
    changed = sorted(
        name
        for name, version in shared.before_linkerd.items()
        if after.get(name) != version and name.split()[1] in own and "/kube-root-ca.crt" not in name
    )
    assert changed == []
    notes = ("trust_namespace_used", "quota_omitted", "release_left", "retry_limit_not_set", "gateway_api_left")
    for note in notes:
        assert f"[{note}]" in shared.first.flat, note
    assert shared.data("configmap", "linkerd-trust-anchors", "ca-bundle.crt", "cert-manager")
    assert shared.execute("kubectl", "get", "namespace", "linkerd-trust").returncode != 0
    assert shared.get("resourcequotas", "--all-namespaces")["items"] == []
    controller = shared.get("deployment", "cert-manager", "-n", "cert-manager")["spec"]
    assert (controller["replicas"], controller["template"]["metadata"]["labels"]["team"]) == (2, "platform")
    assert shared.data("configmap", "team-x", "ca.pem", "team-x")
    again = shared.play("playbooks/site.yml")
    assert (again.rc, again.changed) == (0, 0), again.output[-4000:]
    verified = shared.play("playbooks/verify.yml")
    assert verified.rc == 0, verified.output[-4000:]


def test_gateway_api_is_upgraded_on_request_and_never_downgraded(shared):
    requested = {"linkerd_gateway_api_upgrade": True}
    for channel, code in (("experimental", "gateway_api_channel"), ("standard", "gateway_api_downgrade")):
        shared.mark_gateway_api("v9.9.9", channel)
        before = shared.gateway_api()
        run = shared.play("playbooks/site.yml", variables=requested)
        assert (run.rc != 0, run.changed, codes(run)) == (True, 0, [code]), run.output[-4000:]
        assert shared.gateway_api() == before
    shared.mark_gateway_api("v1.1.1", "standard")
    run = shared.play("playbooks/site.yml", variables=requested)
    assert run.rc == 0 and run.changed, run.output[-4000:]
    assert {version for version, dummy in shared.gateway_api().values()} == {shared.parts["versions"]["gateway-api"]}
    again = shared.play("playbooks/site.yml", variables=requested)
    assert (again.rc, again.changed) == (0, 0), again.output[-4000:]


def test_a_takeover_keeps_values_and_shows_first_what_changes(shared):
    switch = {"cert_manager_manage_release": True}
    release = ("get", "values", "cert-manager", "-n", "cert-manager", "-o", "json")
    before = json.loads(shared.run("helm", *release))
    predicted = shared.play("playbooks/site.yml", "--check", "--diff", variables=switch)
    assert predicted.rc == 0 and json.loads(shared.run("helm", *release)) == before
    assert "[release_taken_over]" in predicted.flat and "webhook.readinessProbe" in predicted.flat
    assert "podLabels" not in predicted.flat.partition("[release_taken_over]")[2].partition("[release")[0]
    for variables in (switch, {}):
        run = shared.play("playbooks/site.yml", variables=variables)
        assert run.rc == 0, run.output[-4000:]
        values = json.loads(shared.run("helm", *release))
        assert (values["replicaCount"], values["podLabels"]) == (2, {"team": "platform"})
        assert values["deploymentAnnotations"]["servicemesh.pki/release"] == "taken-over"
    assert run.changed == 0
    shared.kubectl("rollout", "status", "deployment", "cert-manager", "-n", "cert-manager", "--timeout=300s")


def test_a_changed_trust_source_removes_what_it_does_not_use(shared):
    """The trust namespace is of another team, so only the check is seen here: the Secret is not in it."""
    refused = shared.play("playbooks/site.yml", variables={"linkerd_trust_source": "secret"})
    assert_refused(shared, refused, "trust_source_namespace")


def test_extra_anchors_arrive_whatever_their_form(shared):
    """Two certificates that are joined without a newline, and one that is indented, are three in the ConfigMap."""
    pems = []
    for number in range(3):
        at = [str(shared.home / f"extra-{number}.{kind}") for kind in ("key", "pem")]
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30"]
        shared.run("openssl", "req", "-x509", *key, "-subj", f"/CN=extra-{number}", "-keyout", at[0], "-out", at[1])
        pems.append((shared.home / f"extra-{number}.pem").read_text().strip())
    indented = "\n".join(f"    {line}" for line in pems[2].splitlines())
    extra = {"linkerd_extra_trust_anchors": [pems[0] + pems[1], indented]}
    run = shared.play("playbooks/site.yml", "--tags", "linkerd", variables=extra)
    assert run.rc == 0, run.output[-4000:]
    bundle = shared.data("configmap", "linkerd-identity-trust-roots", "ca-bundle.crt")
    assert bundle.count("BEGIN CERTIFICATE") == 4
    back = shared.play("playbooks/site.yml", "--tags", "linkerd")
    assert back.rc == 0, back.output[-4000:]
    until(lambda: shared.data("configmap", "linkerd-identity-trust-roots", "ca-bundle.crt").count("BEGIN CERT") == 1)


SECOND_KUBECONFIG = property(lambda self: self.home / ".config" / "k3d" / "second.yaml")


@contextmanager
def connected_to_second():
    """In the block, programs connect to the second cluster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Existing, "kubeconfig", SECOND_KUBECONFIG)
        yield


@pytest.fixture(scope="module")
def second(company):
    """A second cluster with cert-manager and trust-manager of others."""
    company.create_second()
    with connected_to_second():
        company.install_managers(trust_manager="trust")
    return company


@pytest.fixture
def names_of_others(company):
    """Names of two clusters that another inventory has configured in Vault."""
    key = str(company.home / "of-others.key")
    company.run("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
    public_key = company.run("openssl", "pkey", "-in", key, "-pubout")
    config = {"bound_issuer": "https://oidc.example.com/others", "jwt_validation_pubkeys": [public_key]}
    names = ("north", "south")
    for name in names:
        assert company.vault("POST", f"sys/auth/jwt-{name}", {"type": "jwt"}, company.token)[0] == 204
        assert company.vault("POST", f"auth/jwt-{name}/config", config, company.token)[0] in (200, 204)
    yield names
    for name in names:
        company.vault("DELETE", f"sys/auth/jwt-{name}", None, company.token)


def test_no_cluster_is_changed_if_others_use_the_access_of_one(shared, second, names_of_others, tmp_path):
    """Both problems are listed. The first cluster has a mesh, and the second one would get it."""

    def state() -> list:
        clusters = [shared.settled()]
        with connected_to_second():
            clusters.append(shared.settled())
        policies = shared.vault("GET", "sys/policies/acl?list=true", None, shared.token)[1]["data"]["keys"]
        return [*clusters, sorted(policies)]

    of_each = {"second": second.on_second()}
    of_each["production"] = {name: shared.extra_variables().get(name, "") for name in of_each["second"]}
    for host, name in zip(("production", "second"), names_of_others, strict=True):
        of_each[host] = {**of_each[host], "vault_issuer_cluster": name}
    variables = {name: f"{{{{ of_each[inventory_hostname].{name} }}}}" for name in of_each["second"]}
    variables["of_each"] = of_each
    hosts = tmp_path / "second.json"
    hosts.write_text(json.dumps({"all": {"children": {"clusters": {"hosts": {"second": {}}}}}}))
    before = state()
    for arguments in (("--check", "--diff"), ()):
        run = shared.play("playbooks/site.yml", "-i", str(hosts), *arguments, variables=variables)
        assert (run.rc != 0, run.changed) == (True, 0), run.output[-4000:]
        for host, given in of_each.items():
            expected = f"[auth_method_of_other_cluster] {host}: The auth method jwt-{given['vault_issuer_cluster']}"
            assert expected in run.flat, run.output[-4000:]
    assert state() == before


def test_teardown_keeps_definitions_with_objects_and_what_others_installed(shared):
    server = {
        "apiVersion": "policy.linkerd.io/v1beta1", "kind": "Server", "metadata": {"name": "own", "namespace": "team-x"},
        "spec": {"podSelector": {}, "port": 80},
    }  # fmt: skip
    shared.apply(server)
    uid = shared.get("servers.policy.linkerd.io", "own", "-n", "team-x")["metadata"]["uid"]
    run = shared.play("playbooks/teardown.yml", "-e", "pki_confirm=yes")
    assert run.rc == 0, run.output[-4000:]
    assert "servers.policy.linkerd.io" in run.flat and "linkerd/linkerd-crds" in run.flat
    assert shared.get("servers.policy.linkerd.io", "own", "-n", "team-x")["metadata"]["uid"] == uid
    assert releases(shared) == {"cert-manager", "trust-manager", "linkerd-crds"}
    left = shared.kubectl("get", "issuers,certificates,bundles,configmaps", "-A", "-o", "name", "-l",
                          "app.kubernetes.io/managed-by=servicemesh.pki")  # fmt: skip
    assert left == ""
    shared.kubectl("delete", "servers.policy.linkerd.io", "own", "-n", "team-x")
    assert shared.play("playbooks/teardown.yml", "-e", "pki_confirm=yes").rc == 0
    assert "linkerd-crds" not in releases(shared)


CRD = """apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: httproutes.gateway.networking.k8s.io
  annotations:
    api-approved.kubernetes.io: unapproved, a chart of a test
    gateway.networking.k8s.io/bundle-version: v1.1.1
    gateway.networking.k8s.io/channel: experimental
spec:
  group: gateway.networking.k8s.io
  names: {kind: HTTPRoute, plural: httproutes, singular: httproute}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: of-the-chart}\n"


@pytest.fixture
def charts(company):
    """A linkerd-crds that owns a kind of the Gateway API without resource-policy, and one without the kind."""
    folders = {}
    for version, files in (("1.0.0", {"crd.yaml": CRD, "config.yaml": CONFIG}), ("2.0.0", {"config.yaml": CONFIG})):
        folder = folders[version] = company.home / f"linkerd-crds-{version}"
        (folder / "templates").mkdir(parents=True, exist_ok=True)
        (folder / "Chart.yaml").write_text(f"apiVersion: v2\nname: linkerd-crds\nversion: {version}\n")
        for name, text in files.items():
            (folder / "templates" / name).write_text(text)
    company.execute("helm", "uninstall", "linkerd-crds", "-n", "linkerd")
    company.kubectl("delete", "crd", "httproutes.gateway.networking.k8s.io", "--ignore-not-found")
    company.execute("kubectl", "create", "namespace", "linkerd")
    yield folders
    company.execute("helm", "uninstall", "linkerd-crds", "-n", "linkerd")
    company.kubectl("delete", "crd", "httproutes.gateway.networking.k8s.io", "--ignore-not-found")


def install_route(company, chart, **values: str):
    """The first chart, and a route of a user."""
    company.helm("install", "linkerd-crds", str(chart), "-n", "linkerd", values=values)
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "of-a-user", "namespace": "default"},
    }
    until(lambda: company.execute("kubectl", "apply", "-f", "-", given=json.dumps(route)).returncode == 0)
    return company.get("httproutes.gateway.networking.k8s.io", "of-a-user", "-n", "default")["metadata"]["uid"]


def route_exists(company) -> bool:
    return company.execute("kubectl", "get", "httproutes.gateway.networking.k8s.io", "of-a-user").returncode == 0


def test_helm_deletes_definitions_that_the_next_chart_lacks(company, charts):
    """The trap itself, so that the next test proves something."""
    install_route(company, charts["1.0.0"])
    company.helm("upgrade", "linkerd-crds", str(charts["2.0.0"]), "-n", "linkerd")
    until(lambda: not route_exists(company))


@pytest.mark.parametrize("switch", ["auto", True])
def test_an_upgrade_of_linkerd_crds_keeps_the_routes_of_users(company, charts, tmp_path, switch):
    marked = {"servicemesh.pki/release": "installed"} if switch == "auto" else {}
    uid = install_route(company, charts["1.0.0"], **marked)
    variables = {
        "linkerd_manage_charts": switch, "linkerd_crds_chart": str(charts["2.0.0"]), "linkerd_check": False,
        "linkerd_gateway_api_crds": "", "linkerd_chart_version": "2.0.0",
    }  # fmt: skip
    role = "- ansible.builtin.include_role: {name: servicemesh.pki.linkerd, tasks_from: definitions}"
    (tmp_path / "variables.json").write_text(json.dumps(variables))
    run = company.task(tmp_path, role, "-e", f"@{tmp_path / 'variables.json'}")
    assert run.rc == 0, run.output[-4000:]
    release = json.loads(company.run("helm", "list", "-n", "linkerd", "--output=json"))[0]
    assert release["chart"] == "linkerd-crds-2.0.0"
    found = company.get("httproutes.gateway.networking.k8s.io", "of-a-user", "-n", "default")
    assert found["metadata"]["uid"] == uid


def test_a_second_cluster_with_its_own_mesh_under_an_existing_root(company, second, monkeypatch):
    """(b) and (d): Vault has the root of the first cluster; Linkerd of the second one was installed with Helm."""
    assert company.vault("GET", "pki/issuer/linkerd-root-1/json")[0] == 200
    monkeypatch.setattr(Existing, "kubeconfig", SECOND_KUBECONFIG)
    company.install_linkerd_with_helm()
    company.install_application()
    before = company.settled()
    with company.traffic() as traffic:
        for arguments, switch, expected in (
            (("--check", "--diff"), {"trust_manager_manage_release": True}, (*EXPECTED, "release_elsewhere")),
            ((), {}, EXPECTED),
        ):
            run = company.play("playbooks/site.yml", *arguments, variables={**company.on_second(), **switch})
            assert_refused(company, run, *expected)
    after = company.settled()
    assert [name for name in {*before, *after} if before.get(name) != after.get(name)] == []
    assert traffic.sent > 5 and traffic.failed == []
    company.kubectl("delete", "namespace", APP)
    for name in ("linkerd-control-plane", "linkerd-crds"):
        company.run("helm", "uninstall", name, "-n", "linkerd", "--wait")
    company.kubectl("delete", "namespace", "linkerd")
    run = company.play("playbooks/site.yml", variables=company.on_second())
    assert run.rc == 0, run.output[-4000:]
    assert "Helm release cert-manager/trust by others" in run.flat  # and is used under its own name
    assert releases(company) == {"cert-manager", "trust", "linkerd-crds", "linkerd-control-plane"}
    again = company.play("playbooks/site.yml", variables=company.on_second())
    assert (again.rc, again.changed) == (0, 0), again.output[-4000:]

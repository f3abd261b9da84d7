#!/usr/bin/python
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k8s_condition
short_description: Wait until Kubernetes objects are what they should be, and say why when they are not
version_added: 0.1.0
description:
  - Waits until a condition of an object is true B(at the object's current generation). A C(Ready) that belongs to
    what the object was before its last change does not count.
  - C(observedGeneration) of the condition is compared, else that of the status; an object that tells neither is taken
    at its word.
  - Several objects are waited for in one task. The limit is for all of them together.
  - When the time is over the error holds what the object's conditions and events say, for a Certificate of cert-manager
    also what its newest CertificateRequest and its issuer say.
extends_documentation_fragment:
  - kubernetes.core.k8s_auth_options
  - servicemesh.pki._attributes
  - servicemesh.pki._attributes.info_module
options:
  api_version:
    description: API group and version of the object.
    type: str
    default: v1
  kind:
    description: Kind of the object. Required unless O(objects) is given.
    type: str
  name:
    description: Name of the object.
    type: str
  namespace:
    description: Namespace of the object, none for objects of the cluster.
    type: str
  condition:
    description:
      - Type of the condition.
      - The default is V(Ready), except for kinds that have no conditions (ConfigMap, Namespace, Secret,
        ServiceAccount) and where O(keys) is given. For these the module waits until the object exists.
    type: str
  status:
    description: Status that the condition should have.
    type: str
    choices: ["True", "False", "Unknown"]
    default: "True"
  keys:
    description:
      - Data keys of a ConfigMap or Secret that have to be there and not empty.
      - Their values are never returned.
    type: list
    elements: str
    default: []
  objects:
    description: Objects to wait for, in place of O(kind) and its companions.
    type: list
    elements: dict
    suboptions:
      api_version:
        description: As O(api_version).
        type: str
        default: v1
      kind:
        description: As O(kind).
        type: str
        required: true
      name:
        description: As O(name).
        type: str
        required: true
      namespace:
        description: As O(namespace).
        type: str
      condition:
        description: As O(condition).
        type: str
      status:
        description: As O(status).
        type: str
        choices: ["True", "False", "Unknown"]
        default: "True"
      keys:
        description: As O(keys).
        type: list
        elements: str
        default: []
  state:
    description: V(absent) waits until the objects are gone.
    type: str
    choices: [present, absent]
    default: present
  timeout:
    description:
      - Seconds to wait at most. V(0) looks once.
      - A kind or a namespace that does not exist is an error after 10 seconds already.
    type: int
    default: 120
requirements:
  - kubernetes >= 24.2.0
notes:
  - In check mode the module looks once and reports; it neither waits nor fails, for what is waited for may not have
    been made.
author:
  - The servicemesh.pki authors (@servicemesh)
"""

EXAMPLES = r"""
- name: The issuer's certificate is there
  servicemesh.pki.k8s_condition:
    api_version: cert-manager.io/v1
    kind: Certificate
    name: linkerd-identity-issuer
    namespace: linkerd
    timeout: 60

- name: The Secret and the ConfigMap that Linkerd starts from
  servicemesh.pki.k8s_condition:
    objects:
      - kind: Secret
        name: linkerd-identity-issuer
        namespace: linkerd
        keys: [tls.crt, tls.key, ca.crt]
      - kind: ConfigMap
        name: linkerd-identity-trust-roots
        namespace: linkerd
        keys: [ca-bundle.crt]
      - api_version: trust.cert-manager.io/v1alpha1
        kind: Bundle
        name: linkerd-identity-trust-roots
        condition: Synced
"""

RETURN = r"""
objects:
  description: The objects in the order asked for.
  returned: always
  type: list
  elements: dict
  contains:
    kind:
      description: Kind.
      type: str
      returned: always
    name:
      description: Name.
      type: str
      returned: always
    namespace:
      description: Namespace, none for an object of the cluster.
      type: str
      returned: always
    condition:
      description: Type of the condition that was waited for, if any.
      type: str
      returned: always
    fulfilled:
      description: Whether the object is what it should be.
      type: bool
      returned: always
    reason:
      description: What is missing, or the empty string.
      type: str
      returned: always
    seconds:
      description: Seconds from the start of the task until it was so, or until the module gave up.
      type: float
      returned: always
"""

import copy
import math
import time

from ansible_collections.kubernetes.core.plugins.module_utils.args_common import AUTH_ARG_SPEC
from ansible_collections.kubernetes.core.plugins.module_utils.k8s.client import K8SClient, get_api_client
from ansible_collections.kubernetes.core.plugins.module_utils.k8s.core import AnsibleK8SModule
from ansible_collections.kubernetes.core.plugins.module_utils.k8s.exceptions import CoreException

from ansible_collections.servicemesh.pki.plugins.module_utils import _k8s_condition as judge
from ansible_collections.servicemesh.pki.plugins.module_utils._k8s_condition import Wanted

try:
    from kubernetes.client.exceptions import ApiException
    from kubernetes.config import ConfigException
    from kubernetes.dynamic.exceptions import DynamicApiError, ResourceNotFoundError
    from urllib3.exceptions import HTTPError
except ImportError:  # AnsibleK8SModule says so
    ApiException = ConfigException = DynamicApiError = ResourceNotFoundError = HTTPError = Exception

GRACE = 10  # seconds that a kind or a namespace may take to appear
ANSWER = 15  # seconds that the API server may take to answer


class ClusterError(Exception):
    """A sentence for the user."""


class Cluster:
    """The objects of one cluster."""

    def __init__(self, client: K8SClient) -> None:
        self.client = client

    def get(self, wanted: Wanted) -> dict | None:
        """The object; None when there is none, or its kind or namespace does not exist."""
        try:
            resource = self.client.resource(wanted.kind, wanted.api_version)
            found = resource.get(name=wanted.name, namespace=wanted.namespace, _request_timeout=ANSWER)
        except ResourceNotFoundError:
            return None
        except DynamicApiError as exc:
            if exc.status == 404:
                return None
            raise ClusterError(f"{wanted} cannot be read: {exc.status} {exc.reason}. {api_message(exc)}") from exc
        return found.to_dict()

    def list(self, api_version: str, kind: str, namespace: str | None, **selection: str) -> list[dict]:
        """For explanations: nothing when it cannot be read."""
        try:
            resource = self.client.resource(kind, api_version)
            return resource.get(namespace=namespace, _request_timeout=ANSWER, **selection).to_dict()["items"]
        except (ResourceNotFoundError, DynamicApiError, HTTPError):
            return []

    def wait_for_change(self, wanted: Wanted, found: dict | None, seconds: float) -> None:
        """Returns at the first change of the object, at the latest after the given time."""
        before = found["metadata"]["resourceVersion"] if found else None
        limit = max(1, math.ceil(min(seconds, 30)))
        try:
            resource = self.client.resource(wanted.kind, wanted.api_version)
            for event in resource.watch(namespace=wanted.namespace, name=wanted.name, timeout=limit):
                if event["raw_object"]["metadata"]["resourceVersion"] != before:
                    return
        except (ResourceNotFoundError, ApiException, DynamicApiError, HTTPError):
            time.sleep(min(1, seconds))  # not watchable now: look again later

    def missing_ground(self, wanted: Wanted) -> str | None:
        """Whether the kind or the namespace is what is missing."""
        try:
            self.client.resource(wanted.kind, wanted.api_version)
        except ResourceNotFoundError:
            return (
                f"The cluster does not know the kind {wanted.kind} of {wanted.api_version}. "
                "Install what brings its CustomResourceDefinition."
            )
        namespace = self.get(Wanted("v1", "Namespace", wanted.namespace)) if wanted.namespace else {"metadata": {}}
        if namespace is None:
            return f"{wanted} cannot exist: there is no namespace {wanted.namespace}. Create it first."
        if namespace["metadata"].get("deletionTimestamp"):
            return f"{wanted} cannot exist: namespace {wanted.namespace} is terminating. Wait until it is gone."
        return None

    def explain(self, wanted: Wanted, why: str, found: dict | None) -> str:
        details = []
        if found and wanted.api_version.startswith("cert-manager.io/") and wanted.kind == "Certificate":
            details += self.certificate_details(wanted, found)
        events = self.list(
            "v1",
            "Event",
            wanted.namespace or "default",
            field_selector=f"involvedObject.kind={wanted.kind},involvedObject.name={wanted.name}",
        )
        details.append(("Last events", judge.event_lines(events)))
        return judge.explain(wanted, why, found, details)

    def certificate_details(self, wanted: Wanted, found: dict) -> list[tuple[str, list[str]]]:
        requests = self.list(wanted.api_version, "CertificateRequest", wanted.namespace)
        request = judge.newest_request(requests, wanted.name)
        title = f"Newest CertificateRequest {request['metadata']['name']}" if request else ""
        details = [(title, [judge.sentence(item) for item in judge.conditions(request or {})])]
        reference = found["spec"].get("issuerRef") or {}
        kind = reference.get("kind") or "Issuer"
        namespace = wanted.namespace if kind == "Issuer" else None
        issuer = Wanted(wanted.api_version, kind, reference.get("name") or "", namespace, "Ready")
        if kind in ("Issuer", "ClusterIssuer"):
            state = judge.unmet(self.get(issuer), issuer)
            details.append(("Its issuer", [f"{issuer} {state}"] if state else []))
        return details


def api_message(exc: DynamicApiError) -> str:
    try:
        return exc.summary()
    except (ValueError, AttributeError, TypeError):
        return ""


def wait(cluster: Cluster, wanted: Wanted, absent: bool, started: float, timeout: float) -> dict:
    """Waits for one object. One after the other is as good as all at once, for all have to be so."""
    while True:
        waited = time.monotonic() - started
        found = cluster.get(wanted)
        reason = ("still exists" if found else None) if absent else judge.unmet(found, wanted)
        if reason is None or waited >= timeout:
            return result(wanted, reason, waited, found)
        if found is None and waited >= GRACE:
            ground = cluster.missing_ground(wanted)
            if ground:
                raise ClusterError(ground)
        cluster.wait_for_change(wanted, found, min(timeout - waited, GRACE if found is None else timeout))


def result(wanted: Wanted, reason: str | None, seconds: float, found: dict | None) -> dict:
    return {
        "kind": wanted.kind,
        "name": wanted.name,
        "namespace": wanted.namespace,
        "condition": wanted.condition,
        "fulfilled": reason is None,
        "reason": reason or "",
        "seconds": round(seconds, 1),
        "_found": found,
    }


def run(cluster: Cluster, module: AnsibleK8SModule) -> tuple[list[dict], str]:
    """The results, and the explanation of all that are not fulfilled."""
    params = module.params
    absent, timeout = params["state"] == "absent", 0 if module.check_mode else params["timeout"]
    started, results, sentences = time.monotonic(), [], []
    for options in params["objects"] or [params]:
        wanted = Wanted.from_options(options)
        item = wait(cluster, wanted, absent, started, timeout)
        found = item.pop("_found")
        results.append(item)
        if not item["fulfilled"] and not module.check_mode:
            ground = None if absent or found else cluster.missing_ground(wanted)
            sentences.append(ground or cluster.explain(wanted, item["reason"], found))
    return results, " ".join(sentences)


def argument_spec() -> dict:
    wanted = dict(
        api_version=dict(type="str", default="v1"),
        kind=dict(type="str"),
        name=dict(type="str"),
        namespace=dict(type="str"),
        condition=dict(type="str"),
        status=dict(type="str", choices=["True", "False", "Unknown"], default="True"),
        keys=dict(type="list", elements="str", default=[], no_log=False),
    )
    item = copy.deepcopy(wanted)
    item["kind"]["required"] = item["name"]["required"] = True
    return {
        **copy.deepcopy(AUTH_ARG_SPEC),
        **wanted,
        "objects": dict(type="list", elements="dict", options=item),
        "state": dict(type="str", choices=["present", "absent"], default="present"),
        "timeout": dict(type="int", default=120),
    }


def main() -> None:
    module = AnsibleK8SModule(
        argument_spec=argument_spec(),
        supports_check_mode=True,
        required_one_of=[["kind", "objects"]],
        mutually_exclusive=[["kind", "objects"], ["name", "objects"]],
        required_by={"kind": ["name"]},
    )
    try:
        cluster = Cluster(get_api_client(module))
        results, explanation = run(cluster, module)
    except ClusterError as exc:
        module.fail_json(msg=str(exc))
    except (CoreException, ConfigException) as exc:
        module.fail_json(msg=f"{exc}. Look at kubeconfig and context.")
    except HTTPError as exc:
        cause = getattr(exc, "reason", None) or exc
        module.fail_json(
            msg=f"The cluster's API server does not answer: {cause}. Is it running, is the kubeconfig its own?"
        )
    except (ApiException, DynamicApiError) as exc:
        module.fail_json(msg=f"The cluster's API server refuses: {exc.status} {exc.reason}. {api_message(exc)}")
    if explanation:
        waited = max(item["seconds"] for item in results)
        module.fail_json(msg=f"Not so after {waited:g} s: {explanation}", objects=results)
    module.exit_json(changed=False, objects=results)


if __name__ == "__main__":
    main()

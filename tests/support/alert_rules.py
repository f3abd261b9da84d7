# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the role monitoring as it installs them, rendered with the template module of Ansible."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar, trust_as_template
from ansible.utils.collection_loader import AnsibleCollectionConfig

from support.templates import trusted

ROLE = Path(__file__).resolve().parents[2] / "roles/monitoring"


def variables(**changed: Any) -> dict[str, Any]:
    """The variables of the role with their defaults, in the inventory of a cluster that is called berlin."""
    values = {}
    for file in ("defaults/main.yml", "vars/main.yml"):
        values |= {name: trusted(value) for name, value in yaml.safe_load((ROLE / file).read_text()).items()}
    return {**values, "role_path": str(ROLE), "inventory_hostname": "berlin", **changed}


def evaluate(expression: str, **changed: Any) -> Any:
    """Return the value of an expression with the variables of the role, as plain JSON types."""
    if AnsibleCollectionConfig.collection_finder is None:
        init_plugin_loader([])
    loader = DataLoader()
    loader.set_basedir(str(ROLE))
    expression = "{{ (" + expression + ") | to_json }}"
    return json.loads(Templar(loader, variables=variables(**changed)).template(trust_as_template(expression)))


def rules(**changed: Any) -> dict[str, Any]:
    found: dict[str, Any] = evaluate("__monitoring_rules", **changed)
    return found


def without_annotations(found: dict[str, Any]) -> dict[str, Any]:
    """The rules without what promtool would compare, too: summaries contain values."""
    groups = [
        {**group, "rules": [{key: rule[key] for key in rule if key != "annotations"} for rule in group["rules"]]}
        for group in found["groups"]
    ]
    return {"groups": groups}


def promtool_test(
    rules_file: Any, alert: str, series: dict[str, str], expected: dict[int, list[dict[str, str]]]
) -> dict[str, Any]:
    """The input for `promtool test rules`: one value a minute, and the labels of what fires at some minutes."""
    tests = [
        {"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": [{"exp_labels": labels} for labels in firing]}
        for minute, firing in expected.items()
    ]
    values = [{"series": name, "values": given} for name, given in series.items()]
    return {
        "rule_files": [str(rules_file)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": values, "alert_rule_test": tests}],
    }

# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make demo MONITORING=1` does if a program fails later. tests/prometheus runs it."""

from __future__ import annotations

import contextlib

import pytest

from lab import prometheus
from lab.places import LabError


def test_report_of_an_earlier_run_does_not_hide_a_failure(tmp_path):
    """Stand-ins for ansible-playbook: one that writes a report, and one that fails before."""
    report = tmp_path / "report.prom"
    program = tmp_path / "ansible-playbook"
    program.write_text(f"#!/bin/sh\necho new > {report}.new; mv {report}.new {report}; exit 2\n")
    program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    report.write_text("old\n")
    prometheus.verify(tmp_path, environment)
    assert report.read_text() == "new\n"
    program.write_text("#!/bin/sh\necho broken; exit 2\n")
    with pytest.raises(LabError, match="broken"):
        prometheus.verify(tmp_path, environment)


def test_end_of_prometheus_is_an_error_of_the_lab(monkeypatch):
    """Nothing listens at this port."""
    monkeypatch.setattr(prometheus, "ADDRESS", "127.0.0.1:1")
    monkeypatch.setattr(prometheus, "SETTLE", 0)
    monkeypatch.setattr(prometheus, "kubectl_proxy", lambda env: contextlib.nullcontext("127.0.0.1:1"))
    monkeypatch.setattr(prometheus, "created_by_role", lambda env: ("", []))
    monkeypatch.setattr(prometheus, "running", lambda folder: contextlib.nullcontext())
    monkeypatch.setattr(prometheus, "verify", lambda report, env: None)
    with pytest.raises(LabError, match="Prometheus does not respond"):
        prometheus.monitor({})

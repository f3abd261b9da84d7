# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Debian release of the images, with a stand-in for apt-get that lists the sources of a machine."""

from __future__ import annotations

import os
import platform

import pytest

from lab import recipes
from lab.parts import Workshop
from lab.places import LabError


@pytest.fixture
def source(tmp_path, monkeypatch):
    def run(release: str, *targets: str) -> tuple[str, str]:
        apt_get = tmp_path / "apt-get"
        apt_get.write_text("#!/bin/sh\n" + "".join(f"echo '{target}'\n" for target in targets))
        apt_get.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"VERSION_CODENAME": release})
        return recipes.debian_source(Workshop(tmp_path, {}, tmp_path / "log"))

    return run


@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_release_of_machine_is_preferred(source, release):
    targets = [f"http://one/{suite} {suite} {part}" for part in ("contrib", "main") for suite in ("bookworm", "trixie")]
    assert source(release, *targets) == (release, f"http://one/{release}")


def test_first_main_mirror_of_suite_is_used(source):
    targets = [
        "http://one updates main",
        "http://two trixie contrib",
        "http://three trixie main",
        "http://4 trixie main",
    ]
    assert source("trixie", *targets) == ("trixie", "http://three")


def test_other_release_of_machine_uses_supported_suite(source):
    assert source("sid", "http://one sid main", "http://two trixie main") == ("trixie", "http://two")


@pytest.mark.parametrize("targets", [(), ("http://one noble main",), ("http://one trixie-updates main",)])
def test_missing_suite_is_an_error(source, targets):
    with pytest.raises(LabError, match=r"bookworm.*trixie"):
        source("noble", *targets)

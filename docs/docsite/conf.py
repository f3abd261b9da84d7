# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of Sphinx for the web site, which `make docsite` builds."""

from pathlib import Path

import yaml

galaxy = yaml.safe_load((Path(__file__).resolve().parents[2] / "galaxy.yml").read_text())
project = f"{galaxy['namespace']}.{galaxy['name']}"
author = copyright = galaxy["authors"][0]
version = release = galaxy["version"]
extensions = ["myst_parser", "sphinx_antsibull_ext", "sphinxcontrib.mermaid"]
root_doc = "docs/docsite/index"
include_patterns = ["*.md", "lab/*.md", "roles/*/README.md", "docs/**"]
# Pages of Ansible and of other collections, which are not here; `make docs` follows those references.
suppress_warnings = ["ref.ref"]
myst_fence_as_directive = ["mermaid"]
html_theme = "alabaster"
html_theme_options = {"description": galaxy["description"], "page_width": "72rem"}
myst_heading_anchors = 4

# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for Linkerd's CLI. `version` prints the file versions of its folder. Other commands print the files stdout
and stderr, and end with the code in another one."""

import json
import pathlib
import sys

folder = pathlib.Path(globals().get("FOLDER", "."))  # set in a line that the fixture puts before this text
with (folder / "calls").open("a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\n")
if sys.argv[1] == "version":
    print((folder / "versions").read_text())
    sys.exit()
sys.stdout.write((folder / "stdout").read_text())
sys.stderr.write((folder / "stderr").read_text())
sys.exit(int((folder / "code").read_text()))

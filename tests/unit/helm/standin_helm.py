# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for Helm in unit tests. The real Helm runs in the end-to-end tests.

A test adds a line that sets FOLDER. There the stand-in logs its `calls`, stores `pending` releases, and reads the error
`fail`.
"""

import json
import pathlib
import sys

folder = pathlib.Path(globals().get("FOLDER", "."))
with open(folder / "calls", "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\n")
if (folder / "fail").exists():
    sys.exit((folder / "fail").read_text())
store = folder / "pending"
pending = json.loads(store.read_text()) if store.exists() else []
actions = [argument for argument in sys.argv[1:] if argument in ("list", "status", "uninstall", "rollback")]
if actions == ["list"]:
    print(json.dumps(pending))
elif actions == ["status"]:
    print((folder / "status").read_text())
elif len(actions) == 1:
    release = sys.argv[sys.argv.index(actions[0]) + 1]
    store.write_text(json.dumps([entry for entry in pending if entry["name"] != release]))
else:
    sys.exit(f"the stand-in does not support {sys.argv[1:]}")

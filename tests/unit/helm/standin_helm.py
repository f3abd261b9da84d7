# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for helm in unit tests: keeps pending releases in a file. The real Helm is used in the whole flow.

The text is put behind a line that sets FOLDER, where `calls` is written, `pending` is kept and `fail` is obeyed.
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
words = [word for word in sys.argv[1:] if word in ("list", "uninstall", "rollback")]
if words == ["list"]:
    print(json.dumps(pending))
elif len(words) == 1:
    release = sys.argv[sys.argv.index(words[0]) + 1]
    store.write_text(json.dumps([entry for entry in pending if entry["name"] != release]))
else:
    sys.exit(f"the stand-in does not know {sys.argv[1:]}")

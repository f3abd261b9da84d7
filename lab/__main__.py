# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line `python -m lab build [PART ...]|up|down|fresh|clean|status|env|monitor`."""

from __future__ import annotations

import argparse
import sys

from lab import commands
from lab.places import LabError, exclusive_lock


def main() -> int:
    """Run one command and return its exit status: 1 after a LabError, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m lab", description="The lab of servicemesh.pki; see lab/README.md.")
    subparsers = parser.add_subparsers(dest="command", required=True)
    for name, function in commands.COMMANDS.items():
        subparser = subparsers.add_parser(name, help=function.__doc__)
        if name == "build":
            subparser.add_argument("parts", nargs="*", metavar="PART", help="name of a part, as in `<cache>/lab/parts`")
    arguments = parser.parse_args()
    command = commands.COMMANDS[arguments.command]
    try:
        if arguments.command in commands.WITHOUT_LOCK:
            command()
        else:
            with exclusive_lock():
                command(*getattr(arguments, "parts", ()))
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\nlab: Interrupted. Finished parts stay in the cache, and the next run continues from there.",
            file=sys.stderr,
        )
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

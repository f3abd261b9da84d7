# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: python -m lab build [PART ...]|up|down|fresh|clean|status|env."""

from __future__ import annotations

import argparse
import sys

from lab import commands
from lab.places import LabError, only_one


def main() -> int:
    """Run one command; a failure is one message and exit code 1."""
    parser = argparse.ArgumentParser(prog="python -m lab", description="The lab of servicemesh.pki; see lab/README.md.")
    names = parser.add_subparsers(dest="command", required=True)
    for name, function in commands.COMMANDS.items():
        own = names.add_parser(name, help=function.__doc__)
        if name == "build":
            own.add_argument("parts", nargs="*", metavar="PART", help="a part's name, as in `<cache>/lab/parts`")
    given = parser.parse_args()
    command = commands.COMMANDS[given.command]
    try:
        if given.command in commands.READ_ONLY:
            command()
        else:
            with only_one():
                command(*getattr(given, "parts", ()))
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nlab: interrupted; what was finished is kept, the next run goes on from there", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())

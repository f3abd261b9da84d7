# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of the results, for the terminal and docs/guides/performance.md."""

from __future__ import annotations

import json
import re
from pathlib import Path

from bench import plots
from bench.usage import ROOT

GUIDE = ROOT / "docs" / "guides" / "performance.md"
FIGURES = ROOT / "docs" / "figures"
MEASURED = FIGURES / "measured.json"
TITLES = {
    "script": "the workshop's commands as a script",
    "site": "`site.yml` from nothing",
    "again": "`site.yml` again, `changed=0`",
    "verify": "`verify.yml`",
}


def table(head: list[str], rows: list[list]) -> str:
    """A Markdown table whose first column is text, and the others are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def workshop(results: dict) -> str:
    """The tables of the workshop's script, site.yml and verify.yml."""
    rows = [
        [
            title,
            results[name]["minimum"],
            results[name]["median"],
            results[name]["cpu_seconds"],
            results[name]["memory_mib"],
            results[name]["processes"],
        ]
        for name, title in TITLES.items()
    ]
    head = ["", "minimum, s", "median, s", "processor, s", "memory, MiB", "processes"]
    script, site = results["script"], results["site"]
    ratio = {name: f"{site[name] / script[name]:.2f} of its {name}" for name in ("median", "minimum")}
    comparison = f"`site.yml` beside the script: {ratio['median']}, {ratio['minimum']}."
    containers = table(
        ["container, after the run", "MiB"], [[f"`{name}`", used] for name, used in results["containers_mib"].items()]
    )
    return "\n\n".join(
        [
            table(head, rows),
            f"{len(script['seconds'])} runs each, in turns. {comparison}",
            "![Where the time goes](../figures/runs.svg)",
            containers,
            table(["the script's step", "median, s"], [list(pair) for pair in script["steps"].items()]),
            tasks(results),
        ]
    )


def tasks(results: dict) -> str:
    """The tables of tasks, with the slowest first, and of waits."""
    first, again = results["site"]["tasks"], results["again"]["tasks"]
    names = sorted(first.keys() | again.keys(), key=lambda name: (-first.get(name, 0), name))
    shown = [
        [name, first.get(name, "-"), again.get(name, "-")]
        for name in names
        if max(first.get(name, 0), again.get(name, 0)) >= 0.2
    ]
    waits = [[name, seconds] for name, seconds in results["site"]["waits"].items() if seconds >= 0.1]
    return "\n\n".join(
        [
            table(["task of `site.yml`", "from nothing, s", "again, s"], shown),
            table(["waited for, from nothing", "s"], waits) if waits else "",
        ]
    ).strip()


def clusters(results: dict) -> str:
    """The tables of runs with one and three clusters."""
    one, three = results["1"], results["3"]
    runs = len(one["seconds"])
    rows = [[count, entry["median"], entry["again_median"], entry["cpu_seconds"]] for count, entry in results.items()]
    return "\n\n".join(
        [
            table(["clusters", "from nothing, median s", "again, median s", "processor, s"], rows),
            f"Three at once: {three['median'] / one['median']:.2f} times one; {runs} runs each, in turns.",
            table(
                ["done once, on the Vault host", "1 cluster, s", "3 clusters, s"],
                [
                    [name.split(": ", 1)[1], took, three["vault_tasks"].get(name, "-")]
                    for name, took in one["vault_tasks"].items()
                    if took >= 0.2
                ],
            ),
        ]
    )


def fleet(results: list[dict]) -> str:
    """The table of runs with many clusters."""
    head = [
        "run",
        "clusters",
        "forks",
        "s",
        "processor, s",
        "memory, MiB",
        "processes",
        "requests to clusters",
        "to Vault",
        "processor for each, s",
        "requests for each",
    ]
    rows = [
        [
            f"`{entry['playbook']}`", entry["clusters"], entry["forks"], entry["seconds"], entry["cpu_seconds"],
            entry["memory_mib"], entry["processes"], entry["requests"], entry["vault_requests"],
            f"{entry['cpu_seconds'] / entry['clusters']:.2f}", f"{entry['requests'] / entry['clusters']:.1f}",
        ]
        for entry in results
    ]  # fmt: skip
    plot = "![What grows with the number of clusters](../figures/fleet.svg)"
    return "\n\n".join([table(head, rows), *vault_requests(results), plot])


def vault_requests(results: list[dict]) -> list[str]:
    """A sentence on the requests of site.yml to Vault, once and per cluster, if two cases were measured."""
    requests = {entry["clusters"]: entry["vault_requests"] for entry in results if entry["playbook"] == "site.yml"}
    if len(requests) < 2:
        return []
    few, many = min(requests), max(requests)
    each = (requests[many] - requests[few]) / (many - few)
    once = requests[few] - each * few
    return [f"Of `site.yml`'s requests to Vault {once:g} are for the root and {each:g} for each cluster."]


PARTS = {"workshop": workshop, "clusters": clusters, "fleet": fleet}


def store(part: str, machine: str, results) -> None:
    """Store the results of a part, and update the tables and plots."""
    measured = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    measured[part] = {"machine": machine, "results": results}
    FIGURES.mkdir(parents=True, exist_ok=True)
    MEASURED.write_text(json.dumps(measured, indent=1, sort_keys=False) + "\n")
    write(measured)


def write(measured: dict, guide: Path = GUIDE, figures: Path = FIGURES) -> None:
    """Write the tables into the guide, between its comments `measured: PART` and `end`, and the plots."""
    text = guide.read_text()
    for part, entry in measured.items():
        body = f"{PARTS[part](entry['results'])}\n\n{entry['machine']}"
        text = re.sub(
            rf"(<!-- measured: {part} -->\n).*?(<!-- end -->)",
            lambda match, body=body: f"{match[1]}\n{body}\n\n{match[2]}",
            text,
            flags=re.DOTALL,
        )
    guide.write_text(text)
    if "workshop" in measured:
        plots.runs(measured["workshop"]["results"], figures / "runs.svg")
    if "fleet" in measured:
        plots.fleet(measured["fleet"]["results"], figures / "fleet.svg")

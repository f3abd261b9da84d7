# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of the results, for the terminal and docs/guides/performance.md."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

from bench import plots
from bench.ratios import ratios, spread
from bench.usage import ROOT, BenchError

GUIDE = ROOT / "docs" / "guides" / "performance.md"
FIGURES = ROOT / "docs" / "figures"
MEASURED = FIGURES / "measured.json"
# Format of the results in MEASURED. The tables of parts with another format stay as they are until they are measured.
FORMAT = 2
TITLES = {
    "script": "the workshop's commands as a script",
    "script_values": "the script with the chart values of `site.yml`",
    "local": "`site.yml` from nothing, `local`",
    "forkserver": "`site.yml` from nothing, `forkserver`",
    "local_again": "`site.yml` again, `changed=0`, `local`",
    "forkserver_again": "`site.yml` again, `changed=0`, `forkserver`",
    "verify": "`verify.yml`, `local`",
}
PROGRAMS = {
    "helm": "`helm`, a command that reads (mean)",
    "helm_upgrade": "`helm upgrade --install` (mean)",
    "linkerd": "`linkerd version`",
    "linkerd_check": "`linkerd check`",
    "api_response": "a GET request to the API server (median)",
}
PAPER = ((100, 10, "-"), (100, 50, "-"), (100, 100, "-"))  # clusters and forks of rotations that are not measured


def table(head: list[str], rows: list[list]) -> str:
    """A Markdown table whose first column is text, and the others are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def workshop(results: dict) -> str:
    """The tables of the workshop's script, site.yml and verify.yml."""
    columns = ("minimum", "median", "maximum", "cpu_seconds", "memory_mib", "processes")
    rows = [[title, *(results[name][column] for column in columns)] for name, title in TITLES.items()]
    head = ["", "minimum, s", "median, s", "maximum, s", "processor, s", "memory, MiB", "processes"]
    containers = [[f"`{name}`", used] for name, used in results["containers_mib"].items()]
    steps = results["script"]["steps"], results["script_values"]["steps"]
    return "\n\n".join(
        [
            comparison(results),
            table(head, rows),
            "![Where the time goes](../figures/runs.svg)",
            table(["container, after the run", "MiB"], containers),
            table(
                ["the script's step", "as it is, median s", "with the values of `site.yml`, median s"],
                [[name, seconds, steps[1].get(name, "-")] for name, seconds in steps[0].items()],
            ),
            tasks(results),
            table(["program", "s"], programs(results["programs"])),
        ]
    )


def comparison(results: dict) -> str:
    """The table of ratios of each run to the two scripts of the same round."""
    bases = [results["script"]["seconds"], results["script_values"]["seconds"]]
    rows = [
        [title, *(spread(ratios(results[name]["seconds"], base)) for base in bases)]
        for name, title in TITLES.items()
        if name != "script"
    ]
    rows[0][2] = "1"
    head = ["ratio to the script of the same round", "as it is", "with the chart values of `site.yml`"]
    rounds = f"Median of {len(bases[0])} rounds, with minimum and maximum. The order of the runs alternates."
    return f"{table(head, rows)}\n\n{rounds}"


def programs(seconds: dict[str, float]) -> list[list]:
    """Rows with the seconds of the programs that site.yml starts."""
    return [[title, seconds[name]] for name, title in PROGRAMS.items()]


def tasks(results: dict) -> str:
    """The tables of tasks, with the slowest first, and of waits."""
    runs = [results[name]["tasks"] for name in ("local", "forkserver", "local_again", "forkserver_again")]
    longest: dict[str, float] = {}
    for run in runs:
        longest |= {name: max(seconds, longest.get(name, 0)) for name, seconds in run.items()}
    names = sorted(longest, key=lambda name: (-runs[0].get(name, 0), name))
    shown = [[name, *(run.get(name, "-") for run in runs)] for name in names if longest[name] >= 0.2]
    waits = [results[name]["waits"] for name in ("local", "forkserver")]
    waited = [
        [name, seconds, waits[1].get(name, "-")]
        for name, seconds in waits[0].items()
        if max(seconds, waits[1].get(name, 0)) >= 0.1
    ]
    head = ["task of `site.yml`", "`local`, s", "`forkserver`, s", "`local` again, s", "`forkserver` again, s"]
    tables = [table(head, shown)]
    if waited:
        tables.append(table(["waited for, from nothing", "`local`, s", "`forkserver`, s"], waited))
    return "\n\n".join(tables)


def clusters(results: dict) -> str:
    """The tables of runs with one and three clusters."""
    one, three = results["1"], results["3"]
    first = spread(ratios(three["seconds"], one["seconds"]))
    again = spread(ratios(three["again_seconds"], one["again_seconds"]))
    rounds = f"median of {len(one['seconds'])} rounds, with minimum and maximum"
    rows = [[count, entry["median"], entry["again_median"], entry["cpu_seconds"]] for count, entry in results.items()]
    return "\n\n".join(
        [
            f"Three at once take {first} times as long as one, and {again} times in a second run: {rounds}.",
            table(["clusters", "from nothing, median s", "again, median s", "processor, s"], rows),
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


def fleet(results: dict) -> str:
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
        for entry in results["runs"]
    ]  # fmt: skip
    plot = "![What grows with the number of clusters](../figures/fleet.svg)"
    stand_ins = table(["stand-in", "s"], programs(results["programs"]))
    return "\n\n".join([table(head, rows), *vault_requests(results["runs"]), plot, stand_ins])


def vault_requests(results: list[dict]) -> list[str]:
    """A sentence on the requests of site.yml to Vault, once and per cluster, if two cases were measured."""
    requests = {entry["clusters"]: entry["vault_requests"] for entry in results if entry["playbook"] == "site.yml"}
    if len(requests) < 2:
        return []
    few, many = min(requests), max(requests)
    each = (requests[many] - requests[few]) / (many - few)
    once = requests[few] - each * few
    return [f"Of `site.yml`'s requests to Vault {once:g} are for the root and {each:g} for each cluster."]


def rotation(results: dict) -> str:
    """The tables of a rotation with one and three clusters, and the estimate for a hundred."""
    runs = [results["1"], results["3"]]
    phases = [[name, *(run["phases"][name] for run in runs)] for name in runs[0]["phases"]]
    totals = [["all", "seconds"], ["processor", "cpu_seconds"]]
    restarts = [
        ["pods restarted", "restarted_pods"],
        ["batches in each cluster", "batches"],
        ["until a batch has restarted, median s", "batch_seconds"],
    ]
    estimates = [
        [clusters, forks, f"{estimate(results, clusters, forks) / 60:.1f}", measured]
        for clusters, forks, measured in ((3, 4, f"{runs[1]['seconds'] / 60:.1f}"), *PAPER)
    ]
    counts = ["1 cluster", "3 clusters"]
    return "\n\n".join(
        [
            table(
                ["phase", *(f"{count}, s" for count in counts)],
                [*phases, *([title, *(run[name] for run in runs)] for title, name in totals)],
            ),
            table(["restarts", *counts], [[title, *(run[name] for run in runs)] for title, name in restarts]),
            table(["clusters", "forks", "by the formula, min", "measured, min"], estimates),
        ]
    )


def estimate(results: dict, clusters: int, forks: int) -> float:
    """Seconds of a rotation from the waits of one cluster and the processor time of each."""
    one, three = results["1"], results["3"]
    waits = one["seconds"] - one["cpu_seconds"]
    each = (three["cpu_seconds"] - one["cpu_seconds"]) / 2
    processor = one["cpu_seconds"] + (clusters - 1) * each
    return math.ceil(clusters / forks) * waits + processor / results["cores"]


PARTS = {"workshop": workshop, "clusters": clusters, "fleet": fleet, "rotation": rotation}
PLOTS = {"workshop": "runs.svg", "fleet": "fleet.svg"}


def store(part: str, machine: str, results: dict) -> None:
    """Store the results of a part, and update the tables and plots."""
    measured = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    measured[part] = {"format": FORMAT, "machine": machine, "results": results}
    FIGURES.mkdir(parents=True, exist_ok=True)
    MEASURED.write_text(json.dumps(measured, indent=1, sort_keys=False) + "\n")
    write(measured)


def current(measured: dict) -> dict:
    """The parts whose results have the format of this version."""
    return {part: entry for part, entry in measured.items() if entry.get("format") == FORMAT}


def stored(part: str, path: Path = MEASURED) -> dict:
    """The stored results of a part. Raises BenchError if this version has not measured it."""
    measured = current(json.loads(path.read_text())) if path.exists() else {}
    if part not in measured:
        raise BenchError(
            f"{path.name} has no results of {part} in format {FORMAT}. Run `python -m bench --only {part}` first."
        )
    return measured[part]["results"]


def write(measured: dict, guide: Path = GUIDE, figures: Path = FIGURES) -> None:
    """Write the tables into the guide, between its comments `measured: PART` and `end`, and the plots."""
    text = guide.read_text()
    measured = current(measured)
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
        plots.runs(measured["workshop"]["results"], figures / PLOTS["workshop"])
    if "fleet" in measured:
        plots.fleet(measured["fleet"]["results"]["runs"], figures / PLOTS["fleet"])

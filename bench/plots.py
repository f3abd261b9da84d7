# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plots of the results, as SVG for light and dark pages."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

INK, SOFT = "#24292f", "#d0d7de"
DARK = {INK: "#e6edf3", SOFT: "#30363d"}
WORK, WAIT, SCRIPT = "#2f81f7", "#bf8700", "#8250df"  # readable on light and dark pages
WAITING = ("k8s_condition", "linkerd_check", "uri")
STEPS = ("#8250df", "#a475f9")
SCRIPTS = {"script": "the workshop's script", "script_values": "with the chart values of site.yml"}

plt.rcParams.update(
    {
        "svg.fonttype": "none",  # do not convert text to paths
        "svg.hashsalt": "servicemesh.pki",  # the same results produce the same file
        "font.family": "sans-serif",
        "font.size": 9,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": SOFT,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
)


def save(figure, path: Path) -> None:
    """Write the figure with colours for dark pages."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, transparent=True, bbox_inches="tight", metadata={"Date": None, "Creator": "make bench"})
    plt.close(figure)
    rules = "".join(
        f'[style*="{what}: {light}"]{{{what}:{dark}!important}}'
        for light, dark in DARK.items()
        for what in ("fill", "stroke")
    )
    style = f"<style>@media (prefers-color-scheme:dark){{{rules}text{{fill:{DARK[INK]}!important}}}}</style>"
    text = path.read_text().replace("<defs>", style + "\n <defs>", 1)
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n")


def runs(results: dict, path: Path) -> None:
    """Draw the steps of the scripts and the tasks of site.yml on one time axis."""
    timelines = {
        f"site.yml, {connection}, {host}": [entry for entry in timeline if entry["host"] == host]
        for connection in ("local", "forkserver")
        for timeline in [results[connection]["timeline"]]
        for host in dict.fromkeys(entry["host"] for entry in timeline)
    }
    lanes = [*SCRIPTS.values(), *timelines]
    figure, axes = plt.subplots(figsize=(9, 0.9 + 0.62 * len(lanes)))
    for lane, name in enumerate(SCRIPTS):
        draw_steps(axes, lane, results[name]["steps"])
    for lane, timeline in enumerate(timelines.values(), len(SCRIPTS)):
        draw_tasks(axes, lane, timeline)
    axes.set_yticks(range(len(lanes)), lanes)
    axes.invert_yaxis()
    axes.set_xlabel("seconds since the start of the program (the run nearest to the median)")
    axes.grid(axis="x", color=SOFT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(
        [plt.Rectangle((0, 0), 1, 1, color=color) for color in (WORK, WAIT)],
        ["a task works", "a task waits or checks"],
        loc="lower center",
        bbox_to_anchor=(0.5, 1),
        ncols=2,
        frameon=False,
    )
    save(figure, path)


def draw_steps(axes, lane: int, steps: dict[str, float]) -> None:
    """Draw the steps of a script one after another, with the names of the long ones."""
    start = 0.0
    for number, (name, seconds) in enumerate(steps.items()):
        axes.barh(lane, seconds, left=start, color=STEPS[number % 2], height=0.6)
        if seconds > 2.5:
            axes.text(start + seconds / 2, lane, name, ha="center", va="center", color="#ffffff", fontsize=7.5)
        start += seconds


def draw_tasks(axes, lane: int, timeline: list[dict]) -> None:
    """Draw the tasks of a host at their times."""
    for entry in timeline:
        color = WAIT if entry["module"].rsplit(".", 1)[-1] in WAITING else WORK
        seconds = entry["to"] - entry["from"]
        axes.barh(lane, seconds, left=entry["from"], color=color, height=0.6, edgecolor="#ffffff", linewidth=0.3)


def fleet(results: list[dict], path: Path) -> None:
    """Draw the load by the number of clusters. A flat line per cluster means linear growth."""
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.6), layout="constrained")
    shown = (
        ("cpu_seconds", "processor seconds for each cluster", True),
        ("requests", "requests for each cluster", True),
        ("memory_mib", "MiB of all processes together", False),
    )
    for playbook, color in (("site.yml", WORK), ("one_task.yml", WAIT)):
        same = [entry for entry in results if entry["forks"] == 5 and entry["playbook"] == playbook]
        counts = [entry["clusters"] for entry in same]
        for axis, (name, title, each) in zip(axes, shown, strict=True):
            figures = [entry[name] / (entry["clusters"] if each else 1) for entry in same]
            axis.plot(counts, figures, "o-", color=color, label=playbook)
            axis.set_title(title, fontsize=9, color=INK)
    for axis in axes:
        axis.set_xscale("log")
        axis.set_xticks([1, 10, 100, 1000], ["1", "10", "100", "1000"])
        axis.set_xticks([], minor=True)
        axis.set_ylim(bottom=0)
        axis.set_xlabel("clusters, 5 forks")
        axis.grid(color=SOFT, linewidth=0.6)
    axes[0].legend(frameon=False, fontsize=8)
    save(figure, path)

# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long helm, linkerd and an API server take in a run of site.yml. The stand-ins of fleet.py take as long."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from bench.usage import ROOT, BenchError

RECORDER = ROOT / "bench" / "recorder.sh"
RECORDED = ("helm", "linkerd")
PROGRAMS = ("helm", "helm_upgrade", "linkerd", "linkerd_check")  # helm and linkerd: with another command
REQUESTS = 20


def write_recorders(folder: Path) -> Path:
    """Create programs in a folder that record their time and start the real helm and linkerd. Returns the folder."""
    folder.mkdir()
    for name in RECORDED:
        (folder / name).symlink_to(RECORDER)
    return folder


def program_seconds(times: str) -> dict[str, float]:
    """Mean seconds of the programs from the lines that recorder.sh wrote. Raises BenchError if a program did not run.

    The mean, because the number of starts times the mean is the time of all starts.
    """
    seconds: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for line in times.splitlines():
        start, end, name, *arguments = line.split()
        command = {"helm": "upgrade", "linkerd": "check"}[name]
        program = f"{name}_{command}" if command in arguments else name
        seconds[program].append(float(end.replace(",", ".")) - float(start.replace(",", ".")))
    missing = [program for program, values in seconds.items() if not values]
    if missing:
        raise BenchError(f"The run of site.yml did not record {', '.join(missing)}. It recorded:\n{times}")
    return {program: round(statistics.fmean(values), 3) for program, values in seconds.items()}


def response_seconds(kubeconfig: Path, context: str) -> float:
    """Median seconds of a GET request to the API server of a cluster, on an open connection."""
    from kubernetes import client, config

    with config.new_client_from_config(str(kubeconfig), context) as connection:
        api = client.CoreV1Api(connection)
        seconds = []
        for _ in range(1 + REQUESTS):
            start = time.monotonic()
            api.read_namespace("kube-system", _preload_content=False).read()
            seconds.append(time.monotonic() - start)
    return round(statistics.median(seconds[1:]), 4)  # the first one opens the connection

#!/usr/bin/env bash
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Start the program with the name of this link from the folder BENCH_PROGRAMS, and append a line to the file
# BENCH_PROGRAM_TIMES: start, end, name and arguments. bench/programs.py creates the links.
name=${0##*/}
status=0
start=$EPOCHREALTIME
"${BENCH_PROGRAMS:?}/$name" "$@" || status=$?
end=$EPOCHREALTIME
arguments="$*"
echo "$start $end $name ${arguments//$'\n'/ }" >> "${BENCH_PROGRAM_TIMES:?}"
exit "$status"

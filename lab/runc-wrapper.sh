#!/bin/sh
# Copyright (c) 2026 The servicemesh.pki authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The default runtime of the lab's own engine: runc without CAP_SYS_RESOURCE. Otherwise, privileged containers do not
# start on machines without this capability, such as some virtual machines and sandboxes.
previous=
for argument in "$@"; do
  case "$previous" in
    --bundle) sed -i 's/"CAP_SYS_RESOURCE",//g; s/,"CAP_SYS_RESOURCE"//g' "$argument/config.json" ;;
    --process) sed -i 's/"CAP_SYS_RESOURCE",//g; s/,"CAP_SYS_RESOURCE"//g' "$argument" ;;
  esac
  previous=$argument
done
exec runc "$@"

// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"strings"
	"testing"
)

func TestRender(t *testing.T) {
	got, err := render([]byte("ports:\n  80.tcp:\n  - k3d-x-server-0\n  - k3d-x-server-1\n  53.udp:\n  - k3d-x-server-0\n" +
		"settings:\n  workerConnections: 4096\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"worker_connections 4096;",
		"server k3d-x-server-0:80 ",
		"server k3d-x-server-1:80 ",
		"listen 80;",
		"listen 53 udp;",
		"error_log stderr notice;", // k3d waits for a line of this level
	} {
		if !strings.Contains(string(got), want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Count(string(got), "upstream ") != 2 {
		t.Errorf("want one upstream per port:\n%s", got)
	}
}

func TestRenderRejectsFileWithoutPorts(t *testing.T) {
	for _, text := range []string{"", "ports: {}", "ports: [", "{"} {
		if got, err := render([]byte(text)); err == nil {
			t.Errorf("%q gave\n%s", text, got)
		}
	}
}

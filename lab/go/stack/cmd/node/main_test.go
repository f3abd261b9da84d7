// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	got, err := parse([]string{"server", "--disable", "traefik", "--tls-san", "a,b", "--tls-san=c", "--token", "x",
		"--node-label=k=v", "--unknown", "--flannel-backend=none"})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "b", "c"}; !slices.Equal(got.tlsSANs, want) {
		t.Errorf("tlsSANs %v, want %v", got.tlsSANs, want)
	}
	if want := []string{"k=v"}; !slices.Equal(got.nodeLabels, want) {
		t.Errorf("nodeLabels %v, want %v", got.nodeLabels, want)
	}
}

func TestParseSaysWhatTheNodeCannotDo(t *testing.T) {
	for args, want := range map[string]string{
		"":                         "agents: 0",
		"agent --server https://":  "agents: 0",
		"server --cluster-init":    "servers: 1",
		"server --server https://": "servers: 1",
	} {
		if _, err := parse(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", args, err, want)
		}
	}
}

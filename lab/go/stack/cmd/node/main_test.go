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
		"--node-label=k=v", "--disable=servicelb,metrics-server", "--node-label", "l=w"})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "b", "c"}; !slices.Equal(got.tlsSANs, want) {
		t.Errorf("tlsSANs %v, want %v", got.tlsSANs, want)
	}
	if want := []string{"k=v", "l=w"}; !slices.Equal(got.nodeLabels, want) {
		t.Errorf("nodeLabels %v, want %v", got.nodeLabels, want)
	}
	var ignored []string
	for _, flag := range got.ignored {
		name, reason, _ := strings.Cut(flag, ": ")
		if reason == "" {
			t.Errorf("%q has no reason", flag)
		}
		ignored = append(ignored, name)
	}
	if want := []string{"--disable=traefik", "--token", "--disable=servicelb", "--disable=metrics-server"}; !slices.Equal(ignored, want) {
		t.Errorf("ignored %v, want %v", ignored, want)
	}
}

func TestParseRejectsUnsupportedArguments(t *testing.T) {
	for args, wants := range map[string][]string{
		"":                                 {"agents: 0"},
		"agent --server https://":          {"agents: 0"},
		"server --cluster-init":            {"servers: 1"},
		"server --server https://":         {"servers: 1"},
		"server --flannel-backend=none":    {`"--flannel-backend"`, "--tls-san", "--node-label", "--disable"},
		"server --kube-apiserver-arg=v=9":  {`"--kube-apiserver-arg"`, "--tls-san", "--node-label", "--disable"},
		"server --disable=traefik,coredns": {`"coredns"`, "traefik"},
		"server word":                      {`"word"`},
	} {
		_, err := parse(strings.Fields(args))
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v, want an error with %q", args, err, want)
			}
		}
	}
}

func TestParseErrorOmitsValueOfUnknownArgument(t *testing.T) {
	if _, err := parse([]string{"server", "--agent-token=secret"}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v, want an error without the value", err)
	}
}

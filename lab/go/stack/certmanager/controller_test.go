// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cert-manager/cert-manager/pkg/controller"
)

func TestWanted(t *testing.T) {
	for _, test := range []struct {
		enabled string
		name    string
		want    bool
	}{
		{"*", "issuers", true},
		{"*,-issuers", "issuers", false},
		{"*,-issuers", "clusterissuers", true},
		{"-issuers", "clusterissuers", true},
		{"-issuers", "issuers", false},
		{"issuers", "issuers", true},
		{"issuers", "clusterissuers", false},
	} {
		c := controllers{enabled: strings.Split(test.enabled, ",")}
		if got := c.wanted(test.name); got != test.want {
			t.Errorf("--controllers=%s: %s wanted %t, want %t", test.enabled, test.name, got, test.want)
		}
	}
}

// The controllers that register when their packages are imported: what the flow needs, and neither ACME nor Venafi.
func TestControllersOfTheLab(t *testing.T) {
	known := slices.Sorted(maps.Keys(controller.Known()))
	for _, name := range []string{"clusterissuers", "issuers", "certificaterequests-issuer-vault", "certificates-trigger"} {
		if !slices.Contains(known, name) {
			t.Errorf("no %s in %v", name, known)
		}
	}
	for _, name := range known {
		if strings.Contains(name, "acme") || strings.Contains(name, "venafi") || strings.Contains(name, "shim") {
			t.Errorf("%s is there", name)
		}
	}
}

func TestSettingsFromTheChartsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	text := "apiVersion: controller.config.cert-manager.io/v1alpha1\nkind: ControllerConfiguration\n" +
		"certificateRequestMinimumBackoffDuration: 5s\ncertificateRequestMaximumBackoffDuration: 1m\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := controllers{file: file}
	if err := c.readFile(); err != nil {
		t.Fatal(err)
	}
	if shortest := c.options.CertificateRequestMinimumBackoffDuration; shortest != 5*time.Second {
		t.Errorf("minimum %s", shortest)
	}
	if longest := c.options.CertificateRequestMaximumBackoffDuration; longest != time.Minute {
		t.Errorf("maximum %s", longest)
	}
	if err := os.WriteFile(file, []byte("nonsense: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.readFile(); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("%v, want an error that names the unknown field", err)
	}
}

// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// statusOfReady is the HTTP status of /ready.
func statusOfReady(id *identity) int {
	response := httptest.NewRecorder()
	(&proxy{id: id}).showReady(response, nil)
	return response.Code
}

func TestReadyWithCertificate(t *testing.T) {
	if code := statusOfReady(&identity{}); code != http.StatusServiceUnavailable {
		t.Errorf("without a certificate: status %d", code)
	}
	id := newRoot(t).identity(t, "a.b.serviceaccount.identity.linkerd.cluster.local")
	if code := statusOfReady(id); code != http.StatusOK {
		t.Errorf("with a certificate: status %d", code)
	}
	id.cert.Load().Leaf.NotAfter = time.Now().Add(-time.Hour)
	if code := statusOfReady(id); code != http.StatusOK {
		t.Errorf("with an expired certificate: status %d", code)
	}
}

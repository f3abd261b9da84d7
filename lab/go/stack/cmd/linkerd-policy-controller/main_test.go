// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAllowReturnsIDAndKindOfRequest(t *testing.T) {
	w := httptest.NewRecorder()
	allow(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(
		`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u-1","kind":{"kind":"Server"},"name":"web"}}`)))
	var got struct {
		APIVersion, Kind string
		Response         struct {
			UID     string
			Allowed bool
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.APIVersion != "admission.k8s.io/v1" || got.Kind != "AdmissionReview" || got.Response.UID != "u-1" || !got.Response.Allowed {
		t.Errorf("%+v", got)
	}
}

func TestAllowRejectsInvalidReview(t *testing.T) {
	w := httptest.NewRecorder()
	allow(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader("{")))
	if w.Code != http.StatusBadRequest {
		t.Error(w.Code)
	}
}

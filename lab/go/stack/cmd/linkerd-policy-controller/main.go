// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Command linkerd-policy-controller is a stand-in for the policy controller of
// Linkerd, which is written in Rust. It has probes, an admission webhook that allows
// everything, and a gRPC port that closes all connections, so that clients use
// their defaults.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
)

func main() {
	admin := flag.String("admin-addr", "0.0.0.0:9990", "probes")
	grpc := flag.String("grpc-addr", "0.0.0.0:8090", "policy API")
	server := flag.String("server-addr", "0.0.0.0:9443", "admission webhook")
	key := flag.String("server-tls-key", "", "key of the webhook")
	cert := flag.String("server-tls-certs", "", "certificate of the webhook")
	for _, unused := range []string{"control-plane-namespace", "cluster-networks", "identity-domain", "cluster-domain",
		"default-policy", "log-level", "log-format", "default-opaque-ports", "probe-networks"} {
		flag.String(unused, "", "ignored")
	}
	flag.Parse()
	log.Print("stand-in for the policy controller: allows every policy resource, enforces none")

	probes := http.NewServeMux()
	for _, path := range []string{"/live", "/ready"} {
		probes.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	}
	go func() { log.Fatal(http.ListenAndServe(*admin, probes)) }()
	go func() { log.Fatal(closeConnections(*grpc)) }()
	log.Fatal(http.ListenAndServeTLS(*server, *cert, *key, http.HandlerFunc(allow)))
}

// closeConnections accepts connections and closes them.
func closeConnections(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		c.Close()
	}
}

// review contains the fields of an AdmissionReview that the response needs.
type review struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Request    struct {
		UID  string                `json:"uid"`
		Kind struct{ Kind string } `json:"kind"`
		Name string                `json:"name"`
	} `json:"request"`
}

func allow(w http.ResponseWriter, r *http.Request) {
	var request review
	if err := json.NewDecoder(io.LimitReader(r.Body, 10<<20)).Decode(&request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	log.Printf("allowed %s %s without validation", request.Request.Kind.Kind, request.Request.Name)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"apiVersion": request.APIVersion, "kind": request.Kind,
		"response": map[string]any{"uid": request.Request.UID, "allowed": true},
	})
}

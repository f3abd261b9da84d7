// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Command linkerd-policy-controller is the lab's stand-in for Linkerd's policy
// controller, which is written in Rust and cannot be had here: probes, an
// admission webhook that allows everything, and a gRPC port that answers no
// call, so that callers go on with their defaults.
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
	key := flag.String("server-tls-key", "", "the webhook's key")
	cert := flag.String("server-tls-certs", "", "the webhook's certificate")
	for _, unused := range []string{"control-plane-namespace", "cluster-networks", "identity-domain", "cluster-domain",
		"default-policy", "log-level", "log-format", "default-opaque-ports", "probe-networks"} {
		flag.String(unused, "", "accepted, not used")
	}
	flag.Parse()
	log.Print("lab stand-in for the policy controller: every policy resource is allowed, none is enforced")

	probes := http.NewServeMux()
	for _, path := range []string{"/live", "/ready"} {
		probes.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	}
	go func() { log.Fatal(http.ListenAndServe(*admin, probes)) }()
	go func() { log.Fatal(hangUp(*grpc)) }()
	log.Fatal(http.ListenAndServeTLS(*server, *cert, *key, http.HandlerFunc(allow)))
}

func hangUp(addr string) error {
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

// review is as much of an AdmissionReview as an answer needs.
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
	var asked review
	if err := json.NewDecoder(io.LimitReader(r.Body, 10<<20)).Decode(&asked); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	log.Printf("allowed %s %s, not validated", asked.Request.Kind.Kind, asked.Request.Name)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"apiVersion": asked.APIVersion, "kind": asked.Kind,
		"response": map[string]any{"uid": asked.Request.UID, "allowed": true},
	})
}

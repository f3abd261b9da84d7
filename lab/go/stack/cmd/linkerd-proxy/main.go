// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Command linkerd-proxy is the lab's stand-in for linkerd2-proxy, which is
// written in Rust and cannot be had here.
//
// It reads the environment that Linkerd's chart and injector set, takes the
// key and CSR that linkerd2-proxy-identity left (or makes its own), has
// Linkerd's identity controller certify it, renews at 70 % of the
// certificate's life, and carries TCP between meshed pods over mutual TLS.
// Where discovery gives no answer it refuses the connection, as linkerd2-proxy
// does. It knows no HTTP, counts only connections, and enforces of all policy
// the pod's default one.
//
// Called as linkerd-await it waits for /ready; called as
// linkerd2-network-validator it checks nothing; called as sleep it sleeps.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(log.LstdFlags | log.Lmicroseconds | log.LUTC)
	switch filepath.Base(os.Args[0]) {
	case "linkerd-await":
		os.Exit(await(os.Args[1:]))
	case "linkerd2-network-validator":
		log.Print("lab stand-in for the network validator: nothing checked")
	case "sleep":
		sleep(os.Args[1:])
	default:
		serveMesh()
	}
}

func serveMesh() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	log.Printf("lab stand-in for linkerd2-proxy: TCP over mutual TLS; no HTTP, no policy resources. pid %d, uid %d", os.Getpid(), os.Getuid())
	id, err := newIdentity()
	if err != nil {
		log.Fatalf("Invalid configuration: %s", err)
	}
	p, err := newProxy(id)
	if err != nil {
		log.Fatalf("Invalid configuration: %s", err)
	}
	log.Printf("Local identity is %s, certified by %s", id.name, id.svcAddr)
	for _, serve := range []func() error{
		func() error { return serveAdmin(os.Getenv("LINKERD2_PROXY_ADMIN_LISTEN_ADDR"), p, stop) },
		p.serveInbound,
		p.serveOutbound,
	} {
		go func() { log.Fatal(serve()) }()
	}
	go id.run(ctx)
	<-ctx.Done()
	log.Print("Shutting down")
}

func sleep(args []string) {
	seconds, err := strconv.Atoi(strings.TrimSuffix(strings.Join(args, ""), "s"))
	if err != nil {
		log.Fatal(err)
	}
	time.Sleep(time.Duration(seconds) * time.Second)
}

// await does what linkerd-await does without a command: it returns once the
// proxy in this pod is ready.
func await(args []string) int {
	if os.Getenv("LINKERD_DISABLED") != "" {
		return 0
	}
	port, timeout := "4191", time.Duration(0)
	for i := 0; i < len(args); i++ {
		key, value, inline := strings.Cut(args[i], "=")
		if !inline && i+1 < len(args) {
			i++
			value = args[i]
		}
		switch key {
		case "--timeout":
			d, err := time.ParseDuration(value)
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 64
			}
			timeout = d
		case "--port", "-p":
			port = value
		}
	}
	for start := time.Now(); timeout == 0 || time.Since(start) < timeout; time.Sleep(200 * time.Millisecond) {
		if ready("http://127.0.0.1:" + port + "/ready") {
			return 0
		}
	}
	fmt.Fprintln(os.Stderr, "the proxy did not become ready in time")
	return 69
}

func ready(url string) bool {
	rsp, err := http.Get(url)
	if err != nil {
		return false
	}
	defer rsp.Body.Close()
	return rsp.StatusCode < 300
}

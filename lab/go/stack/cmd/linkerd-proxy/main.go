// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Command linkerd-proxy is a stand-in for linkerd2-proxy, which is written in Rust.
//
// It reads the environment variables that the chart and the injector of Linkerd
// set, and the key and CSR of linkerd2-proxy-identity, or generates them. It
// requests a certificate from the identity controller, renews it after 70 % of its
// validity, and forwards TCP connections between meshed pods over mutual TLS. If
// discovery does not respond, it refuses the connection, as linkerd2-proxy does. It
// does not support HTTP, has only metrics of connections, and enforces only the
// default policy of the pod.
//
// With the name linkerd-await it waits for /ready, with the name
// linkerd2-network-validator it checks nothing, and with the name sleep it sleeps.
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
		log.Print("stand-in for the network validator: checks nothing")
	case "sleep":
		sleep(os.Args[1:])
	default:
		serveMesh()
	}
}

func serveMesh() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	log.Printf("stand-in for linkerd2-proxy: TCP over mutual TLS, no HTTP, no policy resources; pid %d, uid %d", os.Getpid(), os.Getuid())
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

// await waits until the proxy of this pod is ready, as linkerd-await does without a
// command, and returns its exit status.
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
	fmt.Fprintln(os.Stderr, "the proxy did not become ready before the timeout")
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

// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// serveAdmin serves the admin port. It has plain HTTP and, for clients that start a
// TLS handshake such as `linkerd identity`, TLS with the certificate of the proxy.
func serveAdmin(addr string, p *proxy, shutdown func()) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/live", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "live") })
	mux.HandleFunc("/ready", p.showReady)
	mux.HandleFunc("/metrics", p.showMetrics)
	mux.HandleFunc("POST /shutdown", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "shutdown")
		shutdown()
	})
	l, err := net.Listen("tcp4", addr)
	if err != nil {
		return err
	}
	return (&http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}).Serve(detectingListener{l, p})
}

// showReady responds like linkerd-proxy, which stays ready once it has a certificate,
// also when this has expired (linkerd2-proxy, linkerd/app/admin/src/server/readiness.rs).
func (p *proxy) showReady(w http.ResponseWriter, _ *http.Request) {
	if p.id.cert.Load() == nil {
		http.Error(w, "not ready", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

func (p *proxy) showMetrics(w http.ResponseWriter, _ *http.Request) {
	if c := p.id.cert.Load(); c != nil {
		fmt.Fprintf(w, "identity_cert_expiration_timestamp_seconds %d\n", c.Leaf.NotAfter.Unix())
	}
	fmt.Fprintf(w, "identity_cert_refresh_count %d\n", p.id.refreshes.Load())
	p.counters.write(w)
}

// detectingListener accepts connections that use TLS if their first byte starts a TLS record.
type detectingListener struct {
	net.Listener
	p *proxy
}

func (l detectingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &detectingConn{Conn: c, br: bufio.NewReader(c), p: l.p}, nil
}

type detectingConn struct {
	net.Conn
	br  *bufio.Reader
	p   *proxy
	tls *tls.Conn
}

func (c *detectingConn) Read(b []byte) (int, error) {
	if c.tls == nil {
		first, err := c.br.Peek(1)
		if err != nil {
			return 0, err
		}
		if first[0] != 0x16 {
			return c.br.Read(b)
		}
		c.tls = tls.Server(buffered{c.Conn, c.br}, c.p.id.serverTLS(tls.NoClientCert))
	}
	return c.tls.Read(b)
}

func (c *detectingConn) Write(b []byte) (int, error) {
	if c.tls != nil {
		return c.tls.Write(b)
	}
	return c.Conn.Write(b)
}

type buffered struct {
	net.Conn
	r io.Reader
}

func (c buffered) Read(b []byte) (int, error) { return c.r.Read(b) }

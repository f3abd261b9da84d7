// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

const (
	alpha = "alpha.mesh.test"
	beta  = "beta.mesh.test"
)

// kind returns the kind of a refusal, or an empty string for success.
func kind(err error) string {
	var r refusal
	if err != nil && !errors.As(err, &r) {
		return err.Error()
	}
	return r.kind
}

// inbound returns the error of a proxy that accepts one connection of a client.
func inbound(t *testing.T, p *proxy, client func(net.Conn) error) error {
	t.Helper()
	l := listen(t)
	go func() {
		c, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			defer c.Close()
			_ = client(c)
		}
	}()
	c, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := p.accept(c, 8080)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(got)
	if err == nil && string(text) != "hello" {
		t.Errorf("received %q", text)
	}
	return err
}

func plain(c net.Conn) error {
	_, err := c.Write([]byte("hello"))
	return err
}

// meshed is a client with the identity id that connects to the server beta.
func meshed(id *identity) func(net.Conn) error {
	return func(c net.Conn) error {
		t := tls.Client(c, id.clientTLS(beta))
		if _, err := t.Write([]byte("hello")); err != nil {
			return err
		}
		return t.Close()
	}
}

func TestInboundAppliesDefaultPolicy(t *testing.T) {
	r := newRoot(t)
	server, client, other := r.identity(t, beta), r.identity(t, alpha), newRoot(t).identity(t, alpha)
	tlsSeries := inboundTLS(alpha) + " 1"
	for _, test := range []struct {
		name, policy, cluster string
		client                func(net.Conn) error
		refused, counted      string
	}{
		{"a meshed client by default", "", "", meshed(client), "", tlsSeries},
		{"plain text by default", "", "", plain, "", inboundPlain + " 1"},
		{"a meshed client if authentication is required", "all-authenticated", "", meshed(client), "", tlsSeries},
		{"plain text if authentication is required", "all-authenticated", "", plain, "unauthorized", ""},
		{"a client of another root", "all-authenticated", "", meshed(other), "tls_handshake", ""},
		{"a client of another root by default", "", "", meshed(other), "tls_handshake", ""},
		{"a client inside the cluster", "cluster-authenticated", "127.0.0.0/8", meshed(client), "", tlsSeries},
		{"a client outside the cluster", "cluster-authenticated", "10.0.0.0/8", meshed(client), "unauthorized", ""},
		{"plain text outside the cluster", "cluster-unauthenticated", "10.0.0.0/8", plain, "unauthorized", ""},
		{"any client if all are denied", "deny", "", meshed(client), "unauthorized", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &proxy{id: server}
			var err error
			if p.policy, err = parsePolicy(test.policy); err != nil {
				t.Fatal(err)
			}
			if p.cluster, err = parseNetworks(test.cluster); err != nil {
				t.Fatal(err)
			}
			if got := kind(inbound(t, p, test.client)); got != test.refused {
				t.Errorf("refused %q, want %q", got, test.refused)
			}
			p.counters.want(t, test.counted)
		})
	}
}

func TestPortThatRequiresTLSRefusesPlainText(t *testing.T) {
	p := &proxy{id: newRoot(t).identity(t, beta), requireTLS: []int{8080}}
	if got := kind(inbound(t, p, plain)); got != "unauthorized" {
		t.Errorf("refused %q", got)
	}
}

func TestUnknownPolicyIsAnError(t *testing.T) {
	if _, err := parsePolicy("all"); err == nil {
		t.Error("no error")
	}
}

// outbound returns what the peer received and the error of a proxy that forwards one connection.
func outbound(t *testing.T, p *proxy, resolve func(addr string) (target, error), peer func(net.Conn) string) (string, error) {
	t.Helper()
	l := listen(t)
	received := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			received <- "" // no connection
			return
		}
		defer c.Close()
		received <- peer(c)
	}()
	p.resolve = func(*net.TCPAddr) (target, error) { return resolve(l.Addr().String()) }
	app, side := net.Pipe()
	go func() {
		_, _ = app.Write([]byte("hello"))
		_ = app.Close()
	}()
	err := p.forward(side, l.Addr().(*net.TCPAddr))
	side.Close()
	l.Close()
	return <-received, err
}

func read(c net.Conn) string {
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	text, _ := io.ReadAll(c)
	return string(text)
}

func TestOutboundToMeshedPeerUsesMutualTLS(t *testing.T) {
	r := newRoot(t)
	p := &proxy{id: r.identity(t, alpha)}
	to := func(addr string) (target, error) { return target{addr: addr, server: beta, name: beta}, nil }

	got, err := outbound(t, p, to, func(c net.Conn) string {
		return read(tls.Server(c, r.identity(t, beta).serverTLS(tls.RequireAndVerifyClientCert)))
	})
	if got != "hello" || err != nil {
		t.Errorf("received %q, %v", got, err)
	}
	p.counters.want(t, outboundTLS(beta)+" 1")

	for name, server := range map[string]func(net.Conn) string{
		"plain text": func(c net.Conn) string { _, _ = c.Write([]byte("220 hi\n")); return read(c) },
		"another name": func(c net.Conn) string {
			return read(tls.Server(c, r.identity(t, "gamma.mesh.test").serverTLS(tls.NoClientCert)))
		},
		"another root": func(c net.Conn) string {
			return read(tls.Server(c, newRoot(t).identity(t, beta).serverTLS(tls.NoClientCert)))
		},
	} {
		got, err := outbound(t, p, to, server)
		if strings.Contains(got, "hello") || kind(err) != "tls_handshake" {
			t.Errorf("%s: received %q, %v", name, got, err)
		}
	}
	p.counters.want(t, outboundTLS(beta)+" 1")
}

func TestOutboundWithoutIdentityIsPlain(t *testing.T) {
	p := &proxy{id: newRoot(t).identity(t, alpha)}
	got, err := outbound(t, p, func(addr string) (target, error) { return target{addr: addr}, nil }, read)
	if got != "hello" || err != nil {
		t.Errorf("received %q, %v", got, err)
	}
	p.counters.want(t, outboundPlain+" 1")
}

func TestOutboundWithoutDiscoveryIsRefused(t *testing.T) {
	p := &proxy{id: newRoot(t).identity(t, alpha)}
	got, err := outbound(t, p, func(string) (target, error) { return target{}, errors.New("no controller") }, read)
	if got != "" || kind(err) != "discovery" {
		t.Errorf("received %q, %v", got, err)
	}
	p.counters.want(t, "")
	if series := errorSeries("outbound", err); series != `outbound_tcp_errors_total{error="discovery"}` {
		t.Error(series)
	}
}

// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	dialTimeout      = 5 * time.Second
	handshakeTimeout = 5 * time.Second
)

// proxy carries connections; the counters are what /metrics shows.
type proxy struct {
	id                      *identity
	inbound, outbound       string
	requireTLS              []int
	inMTLS, inPlain, inEcho atomic.Int64
	outMTLS, outPlain       atomic.Int64
}

func newProxy(id *identity) *proxy {
	p := &proxy{
		id:       id,
		inbound:  os.Getenv("LINKERD2_PROXY_INBOUND_LISTEN_ADDR"),
		outbound: os.Getenv("LINKERD2_PROXY_OUTBOUND_LISTEN_ADDR"),
	}
	for _, port := range strings.Split(os.Getenv("LINKERD2_PROXY_INBOUND_PORTS_REQUIRE_TLS"), ",") {
		if n, err := strconv.Atoi(port); err == nil {
			p.requireTLS = append(p.requireTLS, n)
		}
	}
	return p
}

// serveInbound takes what iptables redirected from the pod's own ports, and
// answers what was sent to the proxy's port itself with an mTLS echo.
func (p *proxy) serveInbound() error {
	return serve(p.inbound, func(c *net.TCPConn) error {
		orig, err := originalDst(c)
		if err != nil || orig.Port == c.LocalAddr().(*net.TCPAddr).Port {
			return p.echo(c)
		}
		client, err := p.accept(c, orig.Port)
		if err != nil {
			return err
		}
		server, err := net.DialTimeout("tcp", orig.String(), dialTimeout)
		if err != nil {
			return err
		}
		splice(client, server)
		return nil
	})
}

// accept ends the mesh's TLS when the client speaks it and asks for this pod.
func (p *proxy) accept(c *net.TCPConn, port int) (net.Conn, error) {
	sni, conn, err := peekHello(c)
	if err != nil {
		return nil, err
	}
	tlsOnly := slices.Contains(p.requireTLS, port)
	if sni != p.id.name {
		if tlsOnly {
			return nil, fmt.Errorf("port %d requires TLS, %s refused", port, c.RemoteAddr())
		}
		p.inPlain.Add(1)
		return conn, nil
	}
	auth := tls.RequireAndVerifyClientCert
	if tlsOnly {
		auth = tls.VerifyClientCertIfGiven // the control plane's callers have no certificate yet
	}
	t := tls.Server(conn, p.id.serverTLS(auth))
	if err := handshake(t); err != nil {
		return nil, err
	}
	p.inMTLS.Add(1)
	log.Printf("inbound mTLS port=%d from=%s client.id=%q", port, c.RemoteAddr(), peerName(t))
	return t, nil
}

// echo says who both ends are, then sends back what it gets; for /lab/dial.
func (p *proxy) echo(c net.Conn) error {
	t := tls.Server(c, p.id.serverTLS(tls.RequireAndVerifyClientCert))
	if err := handshake(t); err != nil {
		return err
	}
	p.inEcho.Add(1)
	log.Printf("echo mTLS from=%s client.id=%q", c.RemoteAddr(), peerName(t))
	fmt.Fprintf(t, "server=%s client=%s\n", p.id.name, peerName(t))
	if _, err := io.Copy(t, t); err != nil {
		return err
	}
	return t.CloseWrite()
}

// serveOutbound takes what the application sent and iptables redirected.
func (p *proxy) serveOutbound() error {
	return serve(p.outbound, func(c *net.TCPConn) error {
		orig, err := originalDst(c)
		if err != nil || orig.Port == c.LocalAddr().(*net.TCPAddr).Port {
			return errors.New("outbound connection that nobody redirected")
		}
		to, err := p.id.resolve(orig)
		if err != nil {
			log.Printf("outbound %s: no discovery, going on as is: %s", orig, err)
		}
		server, err := p.connect(to)
		if err != nil {
			return err
		}
		splice(c, server)
		return nil
	})
}

// connect dials, over mutual TLS when the peer is known to be meshed.
func (p *proxy) connect(to target) (net.Conn, error) {
	c, err := net.DialTimeout("tcp", to.addr, dialTimeout)
	if err != nil {
		return nil, err
	}
	if to.name == "" {
		p.outPlain.Add(1)
		return c, nil
	}
	t := tls.Client(c, p.id.clientTLS(to.server))
	if err := handshake(t); err != nil {
		c.Close()
		return nil, fmt.Errorf("%s as %s: %w", to.addr, to.name, err)
	}
	p.outMTLS.Add(1)
	log.Printf("outbound mTLS to=%s server.id=%q", to.addr, peerName(t))
	return t, nil
}

func serve(addr string, handle func(*net.TCPConn) error) error {
	l, err := net.Listen("tcp4", addr)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			if err := handle(c.(*net.TCPConn)); err != nil {
				log.Printf("%s: connection from %s: %s", addr, c.RemoteAddr(), err)
			}
		}()
	}
}

func handshake(t *tls.Conn) error {
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	return t.HandshakeContext(ctx)
}

func peerName(t *tls.Conn) string {
	peers := t.ConnectionState().PeerCertificates
	if len(peers) == 0 || len(peers[0].DNSNames) == 0 {
		return ""
	}
	return peers[0].DNSNames[0]
}

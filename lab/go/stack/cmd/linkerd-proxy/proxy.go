// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
)

const (
	dialTimeout      = 5 * time.Second
	handshakeTimeout = 5 * time.Second
)

// proxy forwards connections and counts them.
type proxy struct {
	id                *identity
	inbound, outbound string
	requireTLS        []int
	policy            policy
	cluster           networks
	resolve           func(*net.TCPAddr) (target, error)
	counters          counters
}

func newProxy(id *identity) (*proxy, error) {
	p := &proxy{
		id:       id,
		inbound:  os.Getenv("LINKERD2_PROXY_INBOUND_LISTEN_ADDR"),
		outbound: os.Getenv("LINKERD2_PROXY_OUTBOUND_LISTEN_ADDR"),
	}
	var err error
	if p.policy, err = parsePolicy(os.Getenv("LINKERD2_PROXY_INBOUND_DEFAULT_POLICY")); err != nil {
		return nil, err
	}
	if p.cluster, err = parseNetworks(os.Getenv("LINKERD2_PROXY_POLICY_CLUSTER_NETWORKS")); err != nil {
		return nil, fmt.Errorf("LINKERD2_PROXY_POLICY_CLUSTER_NETWORKS: %w", err)
	}
	profiles, err := parseNetworks(os.Getenv("LINKERD2_PROXY_DESTINATION_PROFILE_NETWORKS"))
	if err != nil {
		return nil, fmt.Errorf("LINKERD2_PROXY_DESTINATION_PROFILE_NETWORKS: %w", err)
	}
	for _, port := range strings.Split(os.Getenv("LINKERD2_PROXY_INBOUND_PORTS_REQUIRE_TLS"), ",") {
		if n, err := strconv.Atoi(port); err == nil {
			p.requireTLS = append(p.requireTLS, n)
		}
	}
	addr, name := os.Getenv("LINKERD2_PROXY_DESTINATION_SVC_ADDR"), os.Getenv("LINKERD2_PROXY_DESTINATION_SVC_NAME")
	p.resolve = (&discovery{
		dial:     func() (*grpc.ClientConn, error) { return id.dialControl(addr, name) },
		token:    os.Getenv("LINKERD2_PROXY_DESTINATION_CONTEXT"),
		networks: profiles, attempt: attempt, timeout: 8 * time.Second,
	}).resolve
	return p, nil
}

// serveInbound handles connections to the ports of the pod, which iptables redirected.
func (p *proxy) serveInbound() error {
	return p.serve("inbound", p.inbound, func(c *net.TCPConn) error {
		orig, err := redirected(c)
		if err != nil {
			return err
		}
		client, err := p.accept(c, orig.Port)
		if err != nil {
			return err
		}
		server, err := net.DialTimeout("tcp", orig.String(), dialTimeout)
		if err != nil {
			return refusal{"connect", err}
		}
		splice(client, server)
		return nil
	})
}

// accept terminates TLS if the client requests the identity of this pod, and checks
// the default policy.
func (p *proxy) accept(c *net.TCPConn, port int) (net.Conn, error) {
	sni, conn, err := peekHello(c)
	if err != nil {
		return nil, err
	}
	remote := c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
	tlsOnly := slices.Contains(p.requireTLS, port)
	if sni != p.id.name {
		if tlsOnly {
			return nil, refuse("unauthorized", "port %d requires TLS", port)
		}
		if err := p.policy.check(remote, "", p.cluster); err != nil {
			return nil, err
		}
		p.counters.add(inboundPlain)
		return conn, nil
	}
	auth := tls.RequireAndVerifyClientCert
	if tlsOnly {
		auth = tls.VerifyClientCertIfGiven // clients of the control plane may have no certificate yet
	}
	t := tls.Server(conn, p.id.serverTLS(auth))
	if err := handshake(t); err != nil {
		return nil, refusal{"tls_handshake", err}
	}
	client := peerName(t)
	if !tlsOnly {
		if err := p.policy.check(remote, client, p.cluster); err != nil {
			return nil, err
		}
	}
	p.counters.add(inboundTLS(client))
	log.Printf("inbound mTLS port=%d from=%s client.id=%q server.id=%q", port, c.RemoteAddr(), client, p.id.name)
	return t, nil
}

// serveOutbound handles connections of the application, which iptables redirected.
func (p *proxy) serveOutbound() error {
	return p.serve("outbound", p.outbound, func(c *net.TCPConn) error {
		orig, err := redirected(c)
		if err != nil {
			return err
		}
		return p.forward(c, orig)
	})
}

func (p *proxy) forward(c net.Conn, orig *net.TCPAddr) error {
	to, err := p.resolve(orig)
	if err != nil {
		return refuse("discovery", "no response for %s: %w", orig, err)
	}
	server, err := p.connect(to)
	if err != nil {
		return err
	}
	splice(c, server)
	return nil
}

// connect opens a connection, over mutual TLS if the peer is meshed.
func (p *proxy) connect(to target) (net.Conn, error) {
	c, err := net.DialTimeout("tcp", to.addr, dialTimeout)
	if err != nil {
		return nil, refusal{"connect", err}
	}
	if to.name == "" {
		p.counters.add(outboundPlain)
		return c, nil
	}
	t := tls.Client(c, p.id.clientTLS(to.server))
	if err := handshake(t); err != nil {
		c.Close()
		return nil, refuse("tls_handshake", "%s as %s: %w", to.addr, to.name, err)
	}
	server := peerName(t)
	p.counters.add(outboundTLS(server))
	log.Printf("outbound mTLS to=%s client.id=%q server.id=%q", to.addr, p.id.name, server)
	return t, nil
}

// redirected returns the original destination of a connection, or an error if iptables did not redirect it.
func redirected(c *net.TCPConn) (*net.TCPAddr, error) {
	orig, err := originalDst(c)
	if err != nil {
		return nil, refusal{"orig_dst", err}
	}
	if orig.Port == c.LocalAddr().(*net.TCPAddr).Port {
		return nil, refusal{"orig_dst", errors.New("the connection was not redirected")}
	}
	return orig, nil
}

func (p *proxy) serve(direction, addr string, handle func(*net.TCPConn) error) error {
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
				p.counters.add(errorSeries(direction, err))
				log.Printf("%s connection from %s refused: %s", direction, c.RemoteAddr(), err)
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

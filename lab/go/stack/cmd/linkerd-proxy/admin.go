// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// serveAdmin serves the admin port: HTTP in plain text, and to a client that
// opens with a TLS hello a handshake with the proxy's certificate, which is
// what `linkerd identity` looks at. Below /lab/ are the lab's own additions.
func serveAdmin(addr string, p *proxy, shutdown func()) error {
	mux := http.NewServeMux()
	mux.HandleFunc("/live", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "live") })
	mux.HandleFunc("/ready", p.showReady)
	mux.HandleFunc("/metrics", p.showMetrics)
	mux.HandleFunc("/lab/certificate", p.showCertificate)
	mux.HandleFunc("/lab/dial", p.showDial)
	mux.HandleFunc("POST /shutdown", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "shutdown")
		shutdown()
	})
	l, err := net.Listen("tcp4", addr)
	if err != nil {
		return err
	}
	return (&http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}).Serve(sniffer{l, p})
}

func (p *proxy) showReady(w http.ResponseWriter, _ *http.Request) {
	c := p.id.cert.Load()
	if c == nil || time.Now().After(c.Leaf.NotAfter) {
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
	for _, counter := range []struct {
		labels string
		value  int64
	}{
		{`direction="inbound",tls="true"`, p.inMTLS.Load()},
		{`direction="inbound",tls="no_identity"`, p.inPlain.Load()},
		{`direction="outbound",tls="true"`, p.outMTLS.Load()},
		{`direction="outbound",tls="no_identity"`, p.outPlain.Load()},
		{`direction="echo",tls="true"`, p.inEcho.Load()},
	} {
		fmt.Fprintf(w, "tcp_open_total{%s} %d\n", counter.labels, counter.value)
	}
}

// showCertificate gives the chain in PEM, leaf first, for openssl.
func (p *proxy) showCertificate(w http.ResponseWriter, _ *http.Request) {
	c := p.id.cert.Load()
	if c == nil {
		http.Error(w, "not certified yet", http.StatusServiceUnavailable)
		return
	}
	for _, der := range c.Certificate {
		_ = pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
}

// dialReport is what /lab/dial?addr=...&name=... answers.
type dialReport struct {
	Addr     string   `json:"addr"`
	Wanted   string   `json:"wanted"`
	Local    string   `json:"local"`
	TLS      string   `json:"tls,omitempty"`
	Cipher   string   `json:"cipher,omitempty"`
	Chain    []string `json:"verified_chain,omitempty"`
	Greeting string   `json:"greeting,omitempty"`
	Echo     string   `json:"echo,omitempty"`
	Error    string   `json:"error,omitempty"`
}

// showDial makes a handshake with another proxy's inbound port on demand.
func (p *proxy) showDial(w http.ResponseWriter, r *http.Request) {
	to := target{addr: r.FormValue("addr"), name: r.FormValue("name"), server: r.FormValue("name")}
	report := dialReport{Addr: to.addr, Wanted: to.name, Local: p.id.name}
	if err := p.dial(to, &report); err != nil {
		report.Error = err.Error()
	}
	_ = json.NewEncoder(w).Encode(report)
}

func (p *proxy) dial(to target, report *dialReport) error {
	c, err := p.connect(to)
	if err != nil {
		return err
	}
	defer c.Close()
	if t, ok := c.(*tls.Conn); ok {
		state := t.ConnectionState()
		report.TLS, report.Cipher = tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite)
		for _, x := range state.VerifiedChains[0] {
			report.Chain = append(report.Chain,
				fmt.Sprintf("%s serial=%s not_after=%s", x.Subject.CommonName, x.SerialNumber, x.NotAfter.Format(time.RFC3339)))
		}
	}
	_ = c.SetDeadline(time.Now().Add(3 * time.Second))
	fmt.Fprintln(c, "ping")
	lines := bufio.NewReader(c)
	if report.Greeting, err = lines.ReadString('\n'); err != nil {
		return err
	}
	report.Echo, err = lines.ReadString('\n')
	return err
}

// sniffer hands out connections that decide at the first byte whether they are TLS.
type sniffer struct {
	net.Listener
	p *proxy
}

func (s sniffer) Accept() (net.Conn, error) {
	c, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &sniffed{Conn: c, br: bufio.NewReader(c), p: s.p}, nil
}

type sniffed struct {
	net.Conn
	br  *bufio.Reader
	p   *proxy
	tls *tls.Conn
}

func (c *sniffed) Read(b []byte) (int, error) {
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

func (c *sniffed) Write(b []byte) (int, error) {
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

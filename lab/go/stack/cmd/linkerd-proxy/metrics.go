// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
)

// counters are what /metrics shows, by name and labels as linkerd2-proxy writes them.
type counters struct {
	mu     sync.Mutex
	values map[string]int64
}

func (c *counters) add(series string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.values == nil {
		c.values = map[string]int64{}
	}
	c.values[series]++
}

func (c *counters) write(w io.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, series := range slices.Sorted(maps.Keys(c.values)) {
		fmt.Fprintf(w, "%s %d\n", series, c.values[series])
	}
}

// The series of connections. A connection between two meshed pods counts once on each side, and the two
// identities that the handshake proved are client_id where it came in and server_id where it went out.
func inboundTLS(client string) string {
	return fmt.Sprintf(`tcp_open_total{direction="inbound",peer="src",tls="true",client_id=%q}`, client)
}

func outboundTLS(server string) string {
	return fmt.Sprintf(`tcp_open_total{direction="outbound",peer="dst",tls="true",server_id=%q}`, server)
}

const (
	inboundPlain  = `tcp_open_total{direction="inbound",peer="src",tls="no_identity",no_tls_reason="no_tls_from_remote"}`
	outboundPlain = `tcp_open_total{direction="outbound",peer="dst",tls="no_identity",no_tls_reason="not_provided_by_service_discovery"}`
)

// refusal is a connection that the proxy ended, with the kind of reason that the series of errors names.
type refusal struct {
	kind string
	err  error
}

func (r refusal) Error() string { return r.kind + ": " + r.err.Error() }
func (r refusal) Unwrap() error { return r.err }

func refuse(kind, format string, args ...any) error {
	return refusal{kind, fmt.Errorf(format, args...)}
}

// errorSeries is the series that counts a connection which ended with err.
func errorSeries(direction string, err error) string {
	kind := "other"
	var r refusal
	if errors.As(err, &r) {
		kind = r.kind
	}
	return fmt.Sprintf(`%s_tcp_errors_total{error=%q}`, direction, kind)
}

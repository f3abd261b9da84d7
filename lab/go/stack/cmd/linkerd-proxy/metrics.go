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

// counters are the metrics of the proxy, with names and labels of linkerd2-proxy.
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

// The series of connections. A connection between two meshed pods is counted by both proxies, with the verified
// identity of the peer: client_id for inbound and server_id for outbound connections.
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

// refusal is the error of a connection that the proxy refused. Its kind is the label of the metric.
type refusal struct {
	kind string
	err  error
}

func (r refusal) Error() string { return r.kind + ": " + r.err.Error() }
func (r refusal) Unwrap() error { return r.err }

func refuse(kind, format string, args ...any) error {
	return refusal{kind, fmt.Errorf(format, args...)}
}

// errorSeries returns the series that counts connections with this error.
func errorSeries(direction string, err error) string {
	kind := "other"
	var r refusal
	if errors.As(err, &r) {
		kind = r.kind
	}
	return fmt.Sprintf(`%s_tcp_errors_total{error=%q}`, direction, kind)
}

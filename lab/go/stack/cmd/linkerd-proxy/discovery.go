// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	dst "github.com/linkerd/linkerd2-proxy-api/go/destination"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// target is the address of an outbound connection and, for a meshed peer, its server
// name and identity.
type target struct{ addr, server, name string }

// discovery looks up addresses in the destination controller of Linkerd.
type discovery struct {
	dial     func() (*grpc.ClientConn, error)
	token    string
	networks networks      // other addresses are not looked up, as in linkerd2-proxy
	attempt  time.Duration // timeout of one attempt
	timeout  time.Duration // timeout of all attempts
	mu       sync.Mutex
	channel  *grpc.ClientConn // of the last attempt that got a response
}

// resolve returns an error if there is no response, because otherwise a meshed peer
// would get plain text. A target is plain only if the response has no identity, or
// the address is outside of the networks.
func (d *discovery) resolve(orig *net.TCPAddr) (target, error) {
	if !d.networks.contain(orig.AddrPort().Addr()) {
		return target{addr: orig.String()}, nil
	}
	for start := time.Now(); ; time.Sleep(firstRetry) {
		to, err := d.lookUp(orig)
		if err == nil || time.Since(start) > d.timeout {
			return to, err
		}
	}
}

func (d *discovery) lookUp(orig *net.TCPAddr) (target, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d.attempt)
	defer cancel()
	conn, err := d.open()
	if err != nil {
		return target{}, err
	}
	to, err := ask(ctx, dst.NewDestinationClient(conn), orig, d.token)
	if code := status.Code(err); code == codes.Unavailable || code == codes.DeadlineExceeded {
		d.discard(conn)
	}
	return to, err
}

// open returns a channel to the destination controller, the one of the last lookup if there is one.
func (d *discovery) open() (*grpc.ClientConn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.channel != nil {
		return d.channel, nil
	}
	conn, err := d.dial()
	d.channel = conn
	return conn, err
}

// discard makes the next lookup open a new channel, because a channel retries less and less often.
func (d *discovery) discard(conn *grpc.ClientConn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.channel == conn {
		d.channel = nil
		conn.Close()
	}
}

func ask(ctx context.Context, api dst.DestinationClient, orig *net.TCPAddr, token string) (target, error) {
	asIs := target{addr: orig.String()}
	profiles, err := api.GetProfile(ctx, &dst.GetDestination{Path: orig.String(), ContextToken: token}, grpc.WaitForReady(true))
	if err != nil {
		return target{}, err
	}
	profile, err := profiles.Recv()
	if err != nil {
		return target{}, err
	}
	if pod := profile.GetEndpoint(); pod != nil {
		return endpoint(pod, asIs), nil
	}
	if profile.GetFullyQualifiedName() == "" {
		return asIs, nil
	}
	path := fmt.Sprintf("%s:%d", profile.GetFullyQualifiedName(), orig.Port)
	return pickEndpoint(ctx, api, &dst.GetDestination{Path: path, ContextToken: token}, asIs)
}

// pickEndpoint selects one of the pods of a Service.
func pickEndpoint(ctx context.Context, api dst.DestinationClient, service *dst.GetDestination, asIs target) (target, error) {
	updates, err := api.Get(ctx, service)
	if err != nil {
		return target{}, err
	}
	for {
		update, err := updates.Recv()
		if err != nil {
			return target{}, err
		}
		if pods := update.GetAdd().GetAddrs(); len(pods) > 0 {
			return endpoint(pods[rand.IntN(len(pods))], asIs), nil
		}
		if update.GetNoEndpoints() != nil {
			return target{}, fmt.Errorf("%s has no endpoints", service.GetPath())
		}
	}
}

func endpoint(pod *dst.WeightedAddr, to target) target {
	if ip := pod.GetAddr().GetIp(); ip.GetIpv6() == nil && ip.GetIpv4() != 0 {
		octets := binary.BigEndian.AppendUint32(nil, ip.GetIpv4())
		to.addr = (&net.TCPAddr{IP: octets, Port: int(pod.GetAddr().GetPort())}).String()
	}
	to.name = pod.GetTlsIdentity().GetDnsLikeIdentity().GetName()
	if to.server = pod.GetTlsIdentity().GetServerName().GetName(); to.server == "" {
		to.server = to.name
	}
	return to
}

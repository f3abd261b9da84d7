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
	"os"
	"time"

	dst "github.com/linkerd/linkerd2-proxy-api/go/destination"
)

// target is where an outbound connection goes and, when the peer is meshed,
// who has to answer there.
type target struct{ addr, server, name string }

// resolve asks Linkerd's destination controller who is behind an address. What
// it does not know is dialled as it is.
func (id *identity) resolve(orig *net.TCPAddr) (target, error) {
	asIs := target{addr: orig.String()}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	conn, err := id.dialControl(os.Getenv("LINKERD2_PROXY_DESTINATION_SVC_ADDR"), os.Getenv("LINKERD2_PROXY_DESTINATION_SVC_NAME"))
	if err != nil {
		return asIs, err
	}
	defer conn.Close()
	api, token := dst.NewDestinationClient(conn), os.Getenv("LINKERD2_PROXY_DESTINATION_CONTEXT")
	profiles, err := api.GetProfile(ctx, &dst.GetDestination{Path: orig.String(), ContextToken: token})
	if err != nil {
		return asIs, err
	}
	profile, err := profiles.Recv()
	if err != nil {
		return asIs, err
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

// pickEndpoint takes one of a Service's pods.
func pickEndpoint(ctx context.Context, api dst.DestinationClient, service *dst.GetDestination, asIs target) (target, error) {
	updates, err := api.Get(ctx, service)
	if err != nil {
		return asIs, err
	}
	for {
		update, err := updates.Recv()
		if err != nil {
			return asIs, err
		}
		if pods := update.GetAdd().GetAddrs(); len(pods) > 0 {
			return endpoint(pods[rand.IntN(len(pods))], asIs), nil
		}
		if update.GetNoEndpoints() != nil {
			return asIs, nil
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

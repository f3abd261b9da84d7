// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"net/netip"
	"strings"
)

// policy is the default inbound policy of a pod: the annotation
// config.linkerd.io/default-inbound-policy, which Linkerd's injector passes on
// as LINKERD2_PROXY_INBOUND_DEFAULT_POLICY. It is all that the stand-in
// enforces; policy resources mean nothing to it.
type policy struct {
	authenticated bool // only clients that proved an identity
	cluster       bool // only clients from the cluster's networks
	deny          bool
}

func parsePolicy(name string) (policy, error) {
	switch name {
	case "", "all-unauthenticated":
		return policy{}, nil
	case "all-authenticated":
		return policy{authenticated: true}, nil
	case "cluster-unauthenticated":
		return policy{cluster: true}, nil
	case "cluster-authenticated":
		return policy{authenticated: true, cluster: true}, nil
	case "deny":
		return policy{deny: true}, nil
	}
	return policy{}, fmt.Errorf("LINKERD2_PROXY_INBOUND_DEFAULT_POLICY: unknown policy %q", name)
}

// check refuses a client, whose identity is "" when it proved none.
func (p policy) check(client netip.Addr, id string, cluster networks) error {
	switch {
	case p.deny:
		return refuse("unauthorized", "the default policy denies every connection")
	case p.cluster && !cluster.contain(client):
		return refuse("unauthorized", "the default policy allows the cluster's networks only, %s is outside", client)
	case p.authenticated && id == "":
		return refuse("unauthorized", "the default policy wants an authenticated client, %s is none", client)
	}
	return nil
}

// networks are address ranges, as in LINKERD2_PROXY_DESTINATION_PROFILE_NETWORKS.
type networks []netip.Prefix

func parseNetworks(list string) (networks, error) {
	var found networks
	for _, text := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, err
		}
		found = append(found, prefix)
	}
	return found, nil
}

func (n networks) contain(addr netip.Addr) bool {
	for _, prefix := range n {
		if prefix.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}

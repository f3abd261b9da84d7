// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"net/netip"
	"strings"
)

// policy is the default inbound policy of a pod, from the annotation
// config.linkerd.io/default-inbound-policy, which the injector sets as
// LINKERD2_PROXY_INBOUND_DEFAULT_POLICY. The stand-in ignores policy resources.
type policy struct {
	authenticated bool // only clients with an identity
	cluster       bool // only clients from the networks of the cluster
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

// check returns an error if the policy does not allow the client. Its identity may be empty.
func (p policy) check(client netip.Addr, id string, cluster networks) error {
	switch {
	case p.deny:
		return refuse("unauthorized", "the default policy denies every connection")
	case p.cluster && !cluster.contain(client):
		return refuse("unauthorized", "the default policy allows only networks of the cluster, not %s", client)
	case p.authenticated && id == "":
		return refuse("unauthorized", "the default policy requires authentication, and %s has no identity", client)
	}
	return nil
}

// networks are address ranges, as in LINKERD2_PROXY_DESTINATION_PROFILE_NETWORKS.
type networks []netip.Prefix

func parseNetworks(list string) (networks, error) {
	var parsed networks
	for _, text := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, prefix)
	}
	return parsed, nil
}

func (n networks) contain(addr netip.Addr) bool {
	for _, prefix := range n {
		if prefix.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}

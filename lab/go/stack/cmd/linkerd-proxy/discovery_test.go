// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"encoding/binary"
	"net"
	"strings"
	"testing"
	"time"

	dst "github.com/linkerd/linkerd2-proxy-api/go/destination"
	pbnet "github.com/linkerd/linkerd2-proxy-api/go/net"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// destinations is a stand-in for Linkerd's destination controller, with the real API.
type destinations struct {
	dst.UnimplementedDestinationServer
	profile *dst.DestinationProfile // nil: every request fails
	updates []*dst.Update
	paths   []string
}

func (d *destinations) GetProfile(request *dst.GetDestination, s grpc.ServerStreamingServer[dst.DestinationProfile]) error {
	d.paths = append(d.paths, request.GetPath())
	if d.profile == nil {
		return status.Error(codes.Unavailable, "not synced")
	}
	return s.Send(d.profile)
}

func (d *destinations) Get(request *dst.GetDestination, s grpc.ServerStreamingServer[dst.Update]) error {
	d.paths = append(d.paths, request.GetPath())
	for _, update := range d.updates {
		if err := s.Send(update); err != nil {
			return err
		}
	}
	<-s.Context().Done()
	return nil
}

func pod(ip string, port uint32, name string) *dst.WeightedAddr {
	addr := &pbnet.TcpAddress{Port: port, Ip: &pbnet.IPAddress{Ip: &pbnet.IPAddress_Ipv4{Ipv4: binary.BigEndian.Uint32(net.ParseIP(ip).To4())}}}
	pod := &dst.WeightedAddr{Addr: addr}
	if name != "" {
		pod.TlsIdentity = &dst.TlsIdentity{Strategy: &dst.TlsIdentity_DnsLikeIdentity_{DnsLikeIdentity: &dst.TlsIdentity_DnsLikeIdentity{Name: name}}}
	}
	return pod
}

func discover(t *testing.T, controller *destinations) *discovery {
	t.Helper()
	l, server := listen(t), grpc.NewServer()
	dst.RegisterDestinationServer(server, controller)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	addr := strings.Replace(l.Addr().String(), "127.0.0.1", "localhost.", 1) // as the chart writes it
	id := newRoot(t).identity(t, alpha)
	cluster, err := parseNetworks("10.0.0.0/8,172.16.0.0/12")
	if err != nil {
		t.Fatal(err)
	}
	return &discovery{
		dial:     func() (*grpc.ClientConn, error) { return id.dialControl(addr, "") },
		networks: cluster, attempt: 2 * time.Second, timeout: time.Millisecond,
	}
}

var service = &net.TCPAddr{IP: net.IPv4(10, 43, 0, 7), Port: 80}

func TestResolve(t *testing.T) {
	add := &dst.Update{Update: &dst.Update_Add{Add: &dst.WeightedAddrSet{Addrs: []*dst.WeightedAddr{pod("10.42.0.9", 8080, beta)}}}}
	for name, test := range map[string]struct {
		controller *destinations
		want       target
		requested  string
	}{
		"a meshed pod": {
			&destinations{profile: &dst.DestinationProfile{Endpoint: pod("10.43.0.7", 80, beta)}},
			target{"10.43.0.7:80", beta, beta}, "10.43.0.7:80",
		},
		"an address without a pod": {
			&destinations{profile: &dst.DestinationProfile{Endpoint: pod("10.43.0.7", 80, "")}},
			target{"10.43.0.7:80", "", ""}, "10.43.0.7:80",
		},
		"a Service": {
			&destinations{profile: &dst.DestinationProfile{FullyQualifiedName: "beta.svc"}, updates: []*dst.Update{add}},
			target{"10.42.0.9:8080", beta, beta}, "10.43.0.7:80 beta.svc:80",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := discover(t, test.controller).resolve(service)
			if err != nil || got != test.want {
				t.Errorf("%v, %v, want %v", got, err, test.want)
			}
			if requested := strings.Join(test.controller.paths, " "); requested != test.requested {
				t.Errorf("requested %s, want %s", requested, test.requested)
			}
		})
	}
}

func TestAddressOutsideTheNetworksIsNotLookedUp(t *testing.T) {
	controller := &destinations{}
	elsewhere := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443}
	got, err := discover(t, controller).resolve(elsewhere)
	if err != nil || got != (target{addr: "192.0.2.1:443"}) || len(controller.paths) > 0 {
		t.Errorf("%v, %v, requested %v", got, err, controller.paths)
	}
}

func TestResolveFailsWithoutResponse(t *testing.T) {
	none := &dst.Update{Update: &dst.Update_NoEndpoints{NoEndpoints: &dst.NoEndpoints{Exists: true}}}
	for name, controller := range map[string]*destinations{
		"an error":     {},
		"no endpoints": {profile: &dst.DestinationProfile{FullyQualifiedName: "beta.svc"}, updates: []*dst.Update{none}},
	} {
		if got, err := discover(t, controller).resolve(service); err == nil || got != (target{}) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	d := discover(t, &destinations{})
	closed := listen(t)
	closed.Close()
	d.attempt = 100 * time.Millisecond
	d.dial = func() (*grpc.ClientConn, error) {
		return newRoot(t).identity(t, alpha).dialControl(closed.Addr().String(), beta)
	}
	if got, err := d.resolve(service); err == nil || got != (target{}) {
		t.Errorf("closed port: %v, %v", got, err)
	}
}

func TestResolveRetriesUntilTimeout(t *testing.T) {
	d := discover(t, &destinations{profile: &dst.DestinationProfile{Endpoint: pod("10.43.0.7", 80, beta)}})
	dial, attempts := d.dial, 0
	d.timeout = 20 * time.Second
	d.dial = func() (*grpc.ClientConn, error) {
		if attempts++; attempts < 3 {
			return nil, status.Error(codes.Unavailable, "restarting")
		}
		return dial()
	}
	if got, err := d.resolve(service); err != nil || got.name != beta {
		t.Errorf("%v, %v", got, err)
	}
}

func TestControlPlaneInPlainTextIsRejected(t *testing.T) {
	l, server := listen(t), grpc.NewServer()
	controller := &destinations{profile: &dst.DestinationProfile{Endpoint: pod("10.43.0.7", 80, "")}}
	dst.RegisterDestinationServer(server, controller)
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	d := discover(t, &destinations{})
	d.attempt = 500 * time.Millisecond
	d.dial = func() (*grpc.ClientConn, error) {
		return newRoot(t).identity(t, alpha).dialControl(l.Addr().String(), "destination.test")
	}
	if got, err := d.resolve(service); err == nil || len(controller.paths) > 0 {
		t.Errorf("%v, requested %v", got, controller.paths)
	}
}

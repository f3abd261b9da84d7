// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	pb "github.com/linkerd/linkerd2-proxy-api/go/identity"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// identity contains the key of this workload and, after the first request, its certificate.
type identity struct {
	name, svcAddr, svcName, tokenFile string
	roots                             *x509.CertPool
	key                               *ecdsa.PrivateKey
	csr                               []byte // DER
	cert                              atomic.Pointer[tls.Certificate]
	refreshes                         atomic.Int64
}

func newIdentity() (*identity, error) {
	id := &identity{
		name:      os.Getenv("LINKERD2_PROXY_IDENTITY_LOCAL_NAME"),
		svcAddr:   os.Getenv("LINKERD2_PROXY_IDENTITY_SVC_ADDR"),
		svcName:   os.Getenv("LINKERD2_PROXY_IDENTITY_SVC_NAME"),
		tokenFile: os.Getenv("LINKERD2_PROXY_IDENTITY_TOKEN_FILE"),
		roots:     x509.NewCertPool(),
	}
	if id.name == "" || id.svcAddr == "" || id.tokenFile == "" {
		return nil, errors.New("LINKERD2_PROXY_IDENTITY_* is not set")
	}
	if !id.roots.AppendCertsFromPEM([]byte(os.Getenv("LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS"))) {
		return nil, errors.New("LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS contains no certificate")
	}
	return id, id.loadKey(os.Getenv("LINKERD2_PROXY_IDENTITY_DIR"))
}

// loadKey reads the key (PKCS#8, DER) and the CSR (DER) that linkerd2-proxy-identity
// wrote. Without them, it generates a pair.
func (id *identity) loadKey(dir string) error {
	der, err := os.ReadFile(filepath.Join(dir, "key.p8"))
	if err == nil {
		k, err := x509.ParsePKCS8PrivateKey(der)
		if err != nil {
			return err
		}
		var ok bool
		if id.key, ok = k.(*ecdsa.PrivateKey); !ok {
			return fmt.Errorf("key.p8 is a %T", k)
		}
		id.csr, err = os.ReadFile(filepath.Join(dir, "csr.der"))
		return err
	}
	if id.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return err
	}
	id.csr, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: id.name}, DNSNames: []string{id.name},
	}, id.key)
	return err
}

// Timeout of an attempt, and the first and longest wait between two. While the identity controller starts, its name does
// not resolve, and a gRPC channel retries less and less often, so every attempt uses a new channel. If a proxy gets its
// certificate later than 10 s after its start, it misses the next probe of the kubelet, and the mesh takes 10 s longer.
const attempt, firstRetry, lastRetry = 2 * time.Second, 250 * time.Millisecond, 2 * time.Second

// run requests a certificate, and renews it after 70 % of its validity.
func (id *identity) run(ctx context.Context) {
	backoff := firstRetry
	for {
		wait := backoff
		if err := id.certify(ctx); err != nil {
			log.Printf("Failed to obtain identity: %s", err)
			backoff = min(2*backoff, lastRetry)
		} else {
			backoff = firstRetry
			leaf := id.cert.Load().Leaf
			wait = max(time.Until(leaf.NotAfter)*7/10, time.Second)
			log.Printf("Certified identity id=%s serial=%s not_after=%s issuer=%q refresh_in=%s", id.name,
				leaf.SerialNumber, leaf.NotAfter.Format(time.RFC3339), leaf.Issuer.CommonName, wait.Round(time.Second))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// certify requests a certificate from the identity controller and verifies it.
func (id *identity) certify(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attempt)
	defer cancel()
	token, err := os.ReadFile(id.tokenFile) // each time, because the kubelet rotates it
	if err != nil {
		return err
	}
	conn, err := id.dialControl(id.svcAddr, id.svcName)
	if err != nil {
		return err
	}
	defer conn.Close()
	// The controller uses DER, although the comments in the proto file mention PEM.
	rsp, err := pb.NewIdentityClient(conn).Certify(ctx, &pb.CertifyRequest{
		Identity: id.name, Token: token, CertificateSigningRequest: id.csr,
	}, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	leaf, err := x509.ParseCertificate(rsp.GetLeafCertificate())
	if err != nil {
		return err
	}
	cert := &tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: id.key, Leaf: leaf}
	pool := x509.NewCertPool()
	for _, der := range rsp.GetIntermediateCertificates() {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return err
		}
		pool.AddCert(c)
		cert.Certificate = append(cert.Certificate, c.Raw)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{
		DNSName: id.name, Roots: id.roots, Intermediates: pool,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}); err != nil {
		return fmt.Errorf("the certificate is not valid: %w", err)
	}
	if !id.key.PublicKey.Equal(leaf.PublicKey) {
		return errors.New("the certificate is for another key")
	}
	id.cert.Store(cert)
	id.refreshes.Add(1)
	return nil
}

// dialControl creates a gRPC channel to a component of the control plane, over TLS
// with the proxy of the component. Within the same pod it uses plain text.
func (id *identity) dialControl(addr, name string) (*grpc.ClientConn, error) {
	// Go resolves "localhost" from /etc/hosts, but not "localhost." of the chart.
	addr = strings.Replace(addr, "localhost.:", "localhost:", 1)
	dial := func(ctx context.Context, addr string) (net.Conn, error) {
		var d net.Dialer
		plain, err := d.DialContext(ctx, "tcp", addr)
		if err != nil || strings.HasPrefix(addr, "localhost:") {
			return plain, err
		}
		c := tls.Client(plain, id.clientTLS(name))
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		if err = c.HandshakeContext(short); err != nil {
			plain.Close()
			return nil, err
		}
		return c, nil
	}
	return grpc.NewClient("passthrough:///"+addr, grpc.WithContextDialer(dial), grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// keyExchange has no post-quantum method, because its computations are a quarter of a handshake's.
var keyExchange = []tls.CurveID{tls.X25519}

// clientTLS trusts only the trust anchors of the mesh, and requires the server name.
func (id *identity) clientTLS(name string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, CurvePreferences: keyExchange, RootCAs: id.roots, ServerName: name,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if c := id.cert.Load(); c != nil {
				return c, nil
			}
			return &tls.Certificate{}, nil
		},
	}
}

func (id *identity) serverTLS(auth tls.ClientAuthType) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, CurvePreferences: keyExchange, ClientCAs: id.roots, ClientAuth: auth,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if c := id.cert.Load(); c != nil {
				return c, nil
			}
			return nil, errors.New("the proxy has no certificate yet")
		},
	}
}

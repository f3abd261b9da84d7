// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// authority is the cluster's own CA. It is made at the first start and kept in
// the node's volume, so that a kubeconfig outlives a restart of the cluster.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

const year = 365 * 24 * time.Hour

func certFile(name string) string { return filepath.Join(tlsDir, name+".crt") }
func keyFile(name string) string  { return filepath.Join(tlsDir, name+".key") }

func loadOrMakeAuthority() (*authority, error) {
	cert, key, err := loadPair("ca")
	if err == nil {
		return &authority{cert, key}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "lab cluster CA"}, NotAfter: time.Now().Add(10 * year),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	cert, key, err = makePair("ca", template, nil)
	return &authority{cert, key}, err
}

// ensure makes a certificate unless one is there that says the same and lasts.
func (a *authority) ensure(name string, subject pkix.Name, hosts ...string) error {
	want := &x509.Certificate{
		Subject: subject, NotAfter: time.Now().Add(year), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			want.IPAddresses = append(want.IPAddresses, ip)
		} else if host != "" {
			want.DNSNames = append(want.DNSNames, host)
		}
	}
	have, _, err := loadPair(name)
	if err == nil && a.stillGood(have, hosts) {
		return nil
	}
	_, _, err = makePair(name, want, a)
	return err
}

func (a *authority) stillGood(cert *x509.Certificate, hosts []string) bool {
	if time.Until(cert.NotAfter) < year/12 || cert.CheckSignatureFrom(a.cert) != nil {
		return false
	}
	for _, host := range hosts {
		if host != "" && cert.VerifyHostname(host) != nil {
			return false
		}
	}
	return true
}

func loadPair(name string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	certPEM, err := os.ReadFile(certFile(name))
	if err != nil {
		return nil, nil, err
	}
	key, err := loadKey(name)
	if err != nil {
		return nil, nil, err
	}
	block, _ := pem.Decode(certPEM)
	if block == nil {
		return nil, nil, fmt.Errorf("%s holds no certificate", certFile(name))
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	return cert, key, err
}

func loadKey(name string) (*ecdsa.PrivateKey, error) {
	keyPEM, err := os.ReadFile(keyFile(name))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(keyPEM)
	if block == nil {
		return nil, fmt.Errorf("%s holds no key", keyFile(name))
	}
	return x509.ParseECPrivateKey(block.Bytes)
}

func makeKey(name string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(keyFile(name), "EC PRIVATE KEY", der, 0o600)
}

// makePair writes a key and its certificate, signed by a or, without one, by itself.
func makePair(name string, template *x509.Certificate, a *authority) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := makeKey(name)
	if err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, nil, err
	}
	template.NotBefore = time.Now().Add(-time.Minute)
	signer := &authority{template, key}
	if a != nil {
		signer = a
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer.cert, &key.PublicKey, signer.key)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	return cert, key, writePEM(certFile(name), "CERTIFICATE", der, 0o644)
}

func writePEM(path, kind string, der []byte, mode os.FileMode) error {
	return writeFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}

// writeFile is whole or not at all: the node can be killed at any time.
func writeFile(path string, text []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	partial := path + ".partial"
	if err := os.WriteFile(partial, text, mode); err != nil {
		return err
	}
	return os.Rename(partial, path)
}

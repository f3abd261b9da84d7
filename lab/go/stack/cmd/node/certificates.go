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

// authority is the CA of the cluster. It is created at the first start and stored
// in the volume of the node, so that a kubeconfig is valid after a restart.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

const year = 365 * 24 * time.Hour

func certFile(name string) string { return filepath.Join(tlsDir, name+".crt") }
func keyFile(name string) string  { return filepath.Join(tlsDir, name+".key") }

func loadOrCreateAuthority() (*authority, error) {
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
	cert, key, err = createPair("ca", template, nil)
	return &authority{cert, key}, err
}

// ensure creates a certificate, unless a valid one for the same hosts exists.
func (a *authority) ensure(name string, subject pkix.Name, hosts ...string) error {
	template := &x509.Certificate{
		Subject: subject, NotAfter: time.Now().Add(year), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if host != "" {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	existing, _, err := loadPair(name)
	if err == nil && a.isValid(existing, hosts) {
		return nil
	}
	_, _, err = createPair(name, template, a)
	return err
}

// isValid reports whether the certificate is signed by this CA, has the hosts, and
// is valid for at least another month.
func (a *authority) isValid(cert *x509.Certificate, hosts []string) bool {
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
		return nil, nil, fmt.Errorf("%s contains no PEM certificate", certFile(name))
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
		return nil, fmt.Errorf("%s contains no PEM key", keyFile(name))
	}
	return x509.ParseECPrivateKey(block.Bytes)
}

func createKey(name string) (*ecdsa.PrivateKey, error) {
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

// createPair writes a key and its certificate. Without an authority, it is self-signed.
func createPair(name string, template *x509.Certificate, a *authority) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := createKey(name)
	if err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return nil, nil, err
	}
	template.NotBefore = time.Now().Add(-time.Minute)
	issuer := &authority{template, key}
	if a != nil {
		issuer = a
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.cert, &key.PublicKey, issuer.key)
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

// writeFile writes a file atomically, because the node can be killed at any time.
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

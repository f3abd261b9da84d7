// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Oracle that reads and verifies certificates as Linkerd's identity controller and CLI do. It uses Go's standard library
// in the same way as linkerd2's pkg/tls (codec.go, cred.go), pkg/identity (service.go) and pkg/issuercerts.
//
// It reads one JSON request per line from standard input, and writes one JSON response per line.
package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"
)

type request struct {
	Chain   []byte // text of tls.crt; base64 in JSON
	Anchors []byte // text of the trust anchors
	At      time.Time
}

// Each field is the error, or empty on success.
type response struct {
	ReadChain     string
	ReadAnchors   string
	Verify        string   // the chain leads to an anchor
	IsCA          string   // the first certificate is a CA
	IssuerAlg     string   // "issuer cert is using supported crypto algorithm" of linkerd check
	AnchorAlgs    string   // "trust anchors are using supported crypto algorithm" of linkerd check
	AnchorTimes   string   // "trust anchors are within their validity period" of linkerd check
	Intermediates [][]byte // DER that the controller appends to the certificate of a workload, in this order
	Anchors       int      // number of anchors read
}

func text(err error) string {
	if err != nil {
		return err.Error()
	}
	return ""
}

// read decodes one block after the other. Remaining text without a block is an error, and another type ends the bundle.
func read(txt []byte) (certificates []*x509.Certificate, err error) {
	for len(txt) > 0 {
		var block *pem.Block
		block, txt = pem.Decode(txt)
		switch {
		case block == nil:
			return nil, errors.New("not a PEM certificate")
		case block.Type != "CERTIFICATE":
			txt = nil
		default:
			certificate, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, err
			}
			certificates = append(certificates, certificate)
		}
	}
	if len(certificates) == 0 {
		return nil, errors.New("no certificates found")
	}
	return certificates, nil
}

// algorithms returns why linkerd check refuses the key or the signature of a certificate.
func algorithms(certificate *x509.Certificate, anchor bool) error {
	signature := certificate.SignatureAlgorithm
	switch key := certificate.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if key.Params().BitSize != 256 || (signature != x509.ECDSAWithSHA256 && signature != x509.SHA256WithRSA) {
			return fmt.Errorf("EC with %d bits signed with %s", key.Params().BitSize, signature)
		}
	case *rsa.PublicKey:
		bits := key.N.BitLen()
		if !anchor || (bits != 2048 && bits != 4096) || signature != x509.SHA256WithRSA {
			return fmt.Errorf("RSA with %d bits signed with %s", bits, signature)
		}
	default:
		return fmt.Errorf("a key of the kind %s", certificate.PublicKeyAlgorithm)
	}
	return nil
}

func verify(req request) (found response) {
	chain, err := read(req.Chain)
	found.ReadChain = text(err)
	anchors, err := read(req.Anchors)
	found.ReadAnchors = text(err)
	if chain == nil || anchors == nil {
		return found
	}
	found.Anchors = len(anchors)
	roots, others := x509.NewCertPool(), x509.NewCertPool()
	for _, anchor := range anchors {
		roots.AddCert(anchor)
		if err := algorithms(anchor, true); err != nil && found.AnchorAlgs == "" {
			found.AnchorAlgs = err.Error()
		}
		if req.At.Before(anchor.NotBefore) || req.At.After(anchor.NotAfter) {
			found.AnchorTimes = "not within the validity period"
		}
	}
	// The controller stores the chain from the root to the issuer.
	for i := len(chain) - 1; i > 0; i-- {
		others.AddCert(chain[i])
	}
	for _, certificate := range chain {
		found.Intermediates = append(found.Intermediates, certificate.Raw)
	}
	_, err = chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: others, CurrentTime: req.At})
	found.Verify = text(err)
	if !chain[0].IsCA {
		found.IsCA = "not a CA"
	}
	found.IssuerAlg = text(algorithms(chain[0], false))
	return found
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	out := bufio.NewWriter(os.Stdout)
	for lines.Scan() {
		var req request
		if err := json.Unmarshal(lines.Bytes(), &req); err != nil {
			panic(err)
		}
		written, err := json.Marshal(verify(req))
		if err != nil {
			panic(err)
		}
		out.Write(append(written, '\n'))
		out.Flush()
	}
}

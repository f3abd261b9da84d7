// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// originalDst returns the destination of a connection before iptables redirected it
// (SO_ORIGINAL_DST of Linux).
func originalDst(c *net.TCPConn) (*net.TCPAddr, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	const soOriginalDst = 80
	var sa syscall.RawSockaddrInet4
	size, errno := uint32(unsafe.Sizeof(sa)), syscall.Errno(0)
	err = raw.Control(func(fd uintptr) {
		_, _, errno = syscall.Syscall6(syscall.SYS_GETSOCKOPT, fd, syscall.SOL_IP, soOriginalDst,
			uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)), 0)
	})
	if err == nil && errno != 0 {
		err = errno
	}
	if err != nil {
		return nil, err
	}
	port := (*[2]byte)(unsafe.Pointer(&sa.Port))
	return &net.TCPAddr{IP: net.IP(sa.Addr[:]), Port: int(port[0])<<8 | int(port[1])}, nil
}

// replay is a connection whose first bytes were already read. It embeds the interface
// instead of the TCPConn, because io.Copy prefers the WriteTo of a TCPConn to Read.
type replay struct {
	net.Conn
	r io.Reader
}

func (c replay) Read(b []byte) (int, error) { return c.r.Read(b) }
func (c replay) CloseWrite() error          { return c.Conn.(*net.TCPConn).CloseWrite() }

// recorder is a connection that records what is read, and discards what is written.
type recorder struct {
	net.Conn
	seen *bytes.Buffer
}

func (c recorder) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.seen.Write(b[:n])
	return n, err
}
func (c recorder) Write(b []byte) (int, error) { return len(b), nil }

// peekHello returns the server name in the ClientHello, and a connection that still
// contains all bytes. The name is empty if the client does not use TLS, or sends
// nothing for 3 s, as in protocols in which the server sends first.
func peekHello(c *net.TCPConn) (string, replay, error) {
	const tlsHandshakeRecord = 0x16
	var seen bytes.Buffer
	_ = c.SetReadDeadline(time.Now().Add(3 * time.Second))
	defer c.SetReadDeadline(time.Time{})
	first := make([]byte, 1)
	n, err := c.Read(first)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return "", replay{}, err
	}
	sni := ""
	if n == 1 && first[0] == tlsHandshakeRecord {
		whole := replay{c, io.MultiReader(bytes.NewReader(first), c)}
		_ = tls.Server(recorder{whole, &seen}, &tls.Config{
			GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
				sni = h.ServerName
				return nil, errors.New("the server name is known")
			},
		}).Handshake()
	} else {
		seen.Write(first[:n])
	}
	return sni, replay{c, io.MultiReader(&seen, c)}, nil
}

// splice copies in both directions until both are closed.
func splice(a, b net.Conn) {
	done := make(chan struct{}, 2)
	half := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		if w, ok := to.(interface{ CloseWrite() error }); ok {
			_ = w.CloseWrite()
		}
		done <- struct{}{}
	}
	go half(a, b)
	go half(b, a)
	<-done
	<-done
	a.Close()
	b.Close()
}

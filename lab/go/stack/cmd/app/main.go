// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Command app is the test application: a web server on port 8080, an HTTP client
// (`app get URL`), a DNS client (`app lookup NAME...`), and a server that also
// sends requests to others until it ends (`app probe FOLDER [INTERVAL URL]...`).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const timeout = 10 * time.Second // of a request

func main() {
	log.SetFlags(0)
	args := append(os.Args[1:], "", "")
	switch args[0] {
	case "get":
		body, err := get(newClient(), args[1])
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(body)
	case "lookup":
		for _, name := range os.Args[2:] {
			addrs, err := net.LookupHost(name)
			fmt.Println(name, addrs, err)
		}
	case "probe":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		streams, err := parseStreams(os.Args[3:])
		if err != nil {
			log.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			probe(ctx, args[1], streams)
			close(ended)
		}()
		serve(ctx)
		<-ended
	default:
		serve(context.Background())
	}
}

// serve answers until ctx ends. Then it completes the requests that have begun.
func serve(ctx context.Context) {
	host, err := os.Hostname()
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Addr: ":8080", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s answers %s\n", host, r.RemoteAddr)
	})}
	ended := make(chan struct{})
	go func() {
		<-ctx.Done()
		_ = server.Shutdown(context.Background())
		close(ended)
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	<-ended
}

// newClient opens a new connection for every request, so that each one makes a new handshake.
func newClient() *http.Client {
	return &http.Client{Timeout: timeout, Transport: &http.Transport{DisableKeepAlives: true}}
}

func get(client *http.Client, url string) (string, error) {
	rsp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer rsp.Body.Close()
	body, err := io.ReadAll(rsp.Body)
	if err == nil && rsp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, rsp.Status)
	}
	return string(body), err
}

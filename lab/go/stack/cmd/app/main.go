// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Command app is the test application: a web server on port 8080, an HTTP client
// (`app get URL`) and a DNS client (`app lookup NAME...`).
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	log.SetFlags(0)
	args := append(os.Args[1:], "", "")
	switch args[0] {
	case "get":
		body, err := get(args[1])
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(body)
	case "lookup":
		for _, name := range os.Args[2:] {
			addrs, err := net.LookupHost(name)
			fmt.Println(name, addrs, err)
		}
	default:
		serve()
	}
}

func serve() {
	host, err := os.Hostname()
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.ListenAndServe(":8080", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s answers %s\n", host, r.RemoteAddr)
	})))
}

// get opens a new connection, so that every call makes a new handshake.
func get(url string) (string, error) {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
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

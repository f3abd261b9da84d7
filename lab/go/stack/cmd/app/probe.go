// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Every URL gets 2 requests a second over a connection that stays open. No more than
// 3 new connections to a URL wait at the same time: while a service has no endpoints,
// each one makes its proxy look for them.
const (
	heldInterval = 500 * time.Millisecond
	waiting      = 3
)

// stream is a URL that gets a new connection in each interval.
type stream struct {
	url      string
	interval time.Duration
}

// parseStreams reads pairs of an interval and a URL.
func parseStreams(args []string) ([]stream, error) {
	var streams []stream
	for pair := range slices.Chunk(args, 2) {
		interval, err := time.ParseDuration(pair[0])
		if err != nil || len(pair) < 2 || interval <= 0 {
			return nil, fmt.Errorf("%q is not an interval and a URL", pair)
		}
		streams = append(streams, stream{pair[1], interval})
	}
	return streams, nil
}

// counts is a file that outlives the pod. It has a line "good URL" for each good
// answer, and "failed 2026-11-26T12:00:00.000Z URL reason" for each failure.
type counts struct {
	mu   sync.Mutex
	file *os.File
}

func openCounts(folder string) *counts {
	host, err := os.Hostname()
	if err != nil {
		log.Fatal(err)
	}
	name := fmt.Sprintf("%s-%d", host, time.Now().UnixNano())
	file, err := os.OpenFile(filepath.Join(folder, name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		log.Fatal(err)
	}
	return &counts{file: file}
}

func (c *counts) add(start time.Time, url string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		fmt.Fprintf(c.file, "failed %s %s %s\n", start.UTC().Format("2006-01-02T15:04:05.000Z"), url, err)
		return
	}
	fmt.Fprintf(c.file, "good %s\n", url)
}

// awaitProxy waits until Linkerd's proxy of the pod is ready. The kubelet starts the
// application without it if the postStart hook fails that waits for it, and runc
// sometimes fails to run a hook right after the start of a container.
func awaitProxy(ctx context.Context) {
	const ready = "http://localhost:4191/ready"
	client := &http.Client{Timeout: time.Second}
	for _, err := get(client, ready); err != nil && ctx.Err() == nil; _, err = get(client, ready) {
		time.Sleep(100 * time.Millisecond)
	}
}

// probe sends requests until ctx ends.
func probe(ctx context.Context, folder string, streams []stream) {
	c := openCounts(folder)
	awaitProxy(ctx)
	held := &http.Client{Timeout: timeout}
	var running sync.WaitGroup
	for _, s := range streams {
		running.Go(func() { repeat(ctx, s.interval, waiting, func() { c.send(newClient(), s.url) }) })
		running.Go(func() { repeat(ctx, heldInterval, 1, func() { c.send(held, s.url+"/held") }) })
	}
	running.Wait()
}

func (c *counts) send(client *http.Client, url string) {
	start := time.Now()
	_, err := get(client, url)
	c.add(start, url, err)
}

// repeat starts request in each interval, unless `most` of them are running.
// After the end of ctx it waits for those that are.
func repeat(ctx context.Context, interval time.Duration, most int, request func()) {
	ticks, slots := time.NewTicker(interval), make(chan struct{}, most)
	var running sync.WaitGroup
	defer running.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		select {
		case slots <- struct{}{}:
			running.Go(func() {
				defer func() { <-slots }()
				request()
			})
		default:
		}
	}
}

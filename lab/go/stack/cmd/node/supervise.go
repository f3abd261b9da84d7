// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	logDir      = "/var/log/lab"
	maxRestarts = 5
	stopTimeout = 5 * time.Second
)

// supervisor keeps the components running. One that ends is started again;
// one that keeps ending stops the node, with the last words of its log.
type supervisor struct {
	ctx    context.Context
	cancel context.CancelFunc
	failed chan error
	ended  sync.WaitGroup
	mu     sync.Mutex
	byAge  []*component
}

type component struct {
	name string
	args []string
	done chan struct{}
	mu   sync.Mutex
	cmd  *exec.Cmd
}

func newSupervisor(ctx context.Context) *supervisor {
	ctx, cancel := context.WithCancel(ctx)
	return &supervisor{ctx: ctx, cancel: cancel, failed: make(chan error, 16)}
}

func (s *supervisor) start(name, program string, args ...string) {
	c := &component{name: name, args: append([]string{program}, args...), done: make(chan struct{})}
	s.mu.Lock()
	s.byAge = append(s.byAge, c)
	s.mu.Unlock()
	s.ended.Add(1)
	go s.keep(c)
}

func (s *supervisor) keep(c *component) {
	defer s.ended.Done()
	defer close(c.done)
	for restarts := 0; ; restarts++ {
		err := c.run()
		if s.ctx.Err() != nil {
			return
		}
		log.Printf("%s ended: %v; its log is %s", c.name, err, c.logFile())
		if restarts == maxRestarts {
			s.failed <- fmt.Errorf("%s ended %d times, giving up; last words:\n%s", c.name, restarts+1, c.lastWords())
			return
		}
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(time.Duration(restarts+1) * 500 * time.Millisecond):
		}
	}
}

func (c *component) logFile() string { return filepath.Join(logDir, c.name+".log") }

func (c *component) lastWords() string {
	text, err := os.ReadFile(c.logFile())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

func (c *component) run() error {
	out, err := os.OpenFile(c.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(c.args[0], c.args[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	// A signal to the node's group must not end the components out of order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.mu.Lock()
	err = cmd.Start()
	c.cmd = cmd
	c.mu.Unlock()
	if err != nil {
		return err
	}
	return cmd.Wait()
}

func (c *component) signal(sig syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cmd != nil && c.cmd.Process != nil {
		_ = c.cmd.Process.Signal(sig)
	}
}

// wait returns when the node is told to stop or a component gave up.
func (s *supervisor) wait() error {
	select {
	case <-s.ctx.Done():
		return s.ctx.Err()
	case err := <-s.failed:
		return err
	}
}

// stop ends everything that uses the API first, etcd last, so that nothing is
// lost that was said to be written.
func (s *supervisor) stop() {
	log.Print("stopping")
	s.cancel()
	deadline := time.After(stopTimeout)
	s.mu.Lock()
	components := s.byAge
	s.mu.Unlock()
	for i := len(components) - 1; i >= 0; i-- {
		c := components[i]
		if c.name == "kube-apiserver" {
			// It waits for its clients' long requests; all of them are ours.
			c.signal(syscall.SIGKILL)
		} else {
			c.signal(syscall.SIGTERM)
		}
		if c.name != "etcd" && c.name != "containerd" {
			continue
		}
		select {
		case <-c.done:
		case <-deadline:
			log.Printf("%s does not end, killed", c.name)
			c.signal(syscall.SIGKILL)
		}
	}
}

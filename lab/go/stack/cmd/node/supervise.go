// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"
)

const logDir = "/var/log/lab"

// limits of what a supervisor tolerates.
type limits struct {
	restarts int           // in a row; a component that ends once more stops the node
	pause    time.Duration // before the first restart; the second waits twice as long, and so on
	steady   time.Duration // a run of this length starts the count of restarts again
	stop     time.Duration // for each group of components to end, before it is killed
}

var defaultLimits = limits{restarts: 5, pause: 500 * time.Millisecond, steady: 5 * time.Minute, stop: 2500 * time.Millisecond}

// supervisor keeps the components running. One that ends is started again;
// one that keeps ending stops the node: ctx ends, and its cause holds the end
// of the component's log.
type supervisor struct {
	ctx    context.Context
	giveUp context.CancelCauseFunc
	dir    string
	limits limits
	mu     sync.Mutex
	byAge  []*component
}

type component struct {
	name     string
	args     []string
	logFile  string
	done     chan struct{}
	mu       sync.Mutex
	cmd      *exec.Cmd
	stopping bool
}

var errStopping = errors.New("the node is stopping")

func newSupervisor(ctx context.Context, dir string, l limits) *supervisor {
	ctx, giveUp := context.WithCancelCause(ctx)
	return &supervisor{ctx: ctx, giveUp: giveUp, dir: dir, limits: l}
}

func (s *supervisor) start(name, program string, args ...string) {
	c := &component{
		name: name, args: append([]string{program}, args...), logFile: filepath.Join(s.dir, name+".log"), done: make(chan struct{}),
	}
	s.mu.Lock()
	s.byAge = append(s.byAge, c)
	s.mu.Unlock()
	go s.keep(c)
}

func (s *supervisor) keep(c *component) {
	defer close(c.done)
	for restarts := 0; ; restarts++ {
		started := time.Now()
		err := c.run()
		if s.ctx.Err() != nil {
			return
		}
		log.Printf("%s ended: %v; its log is %s", c.name, err, c.logFile)
		if time.Since(started) >= s.limits.steady {
			restarts = 0
		}
		if restarts == s.limits.restarts {
			s.giveUp(fmt.Errorf("%s ended %d times in a row, giving up: %v; its log ends with:\n%s", c.name, restarts+1, err, c.logTail()))
			return
		}
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(time.Duration(restarts+1) * s.limits.pause):
		}
	}
}

func (c *component) logTail() string {
	text, err := os.ReadFile(c.logFile)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

func (c *component) run() error {
	out, err := os.OpenFile(c.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(c.args[0], c.args[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	// A signal to the node's group must not end the components out of order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.launch(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

// launch starts the process unless the component was asked to stop: nothing may start behind the back of stop.
func (c *component) launch(cmd *exec.Cmd) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return errStopping
	}
	c.cmd = cmd
	return cmd.Start()
}

// signal asks the component to end; it is not started again.
func (c *component) signal(sig syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping = true
	if c.cmd != nil && c.cmd.Process != nil {
		_ = c.cmd.Process.Signal(sig)
	}
}

// wait returns when the node is asked to stop or a component gave up, with the reason.
func (s *supervisor) wait() error {
	<-s.ctx.Done()
	return context.Cause(s.ctx)
}

// stop ends everything that uses the API first, then containerd, then etcd, so
// that nothing is lost that was acknowledged as written. Every process has
// ended when it returns.
func (s *supervisor) stop() {
	log.Print("stopping")
	s.giveUp(errStopping)
	s.mu.Lock()
	components := slices.Clone(s.byAge)
	s.mu.Unlock()
	slices.Reverse(components)
	groups := [3][]*component{}
	for _, c := range components {
		at := slices.Index([]string{"containerd", "etcd"}, c.name) + 1
		groups[at] = append(groups[at], c)
	}
	for _, group := range groups {
		stopGroup(group, s.limits.stop)
	}
}

func stopGroup(group []*component, timeout time.Duration) {
	for _, c := range group {
		sig := syscall.SIGTERM
		if c.name == "kube-apiserver" {
			sig = syscall.SIGKILL // it would wait for its clients' long requests, and all clients are ours
		}
		c.signal(sig)
	}
	deadline := time.Now().Add(timeout)
	for _, c := range group {
		select {
		case <-c.done:
		case <-time.After(time.Until(deadline)):
			log.Printf("%s did not end within %s, killed", c.name, timeout)
			c.signal(syscall.SIGKILL)
			<-c.done
		}
	}
}

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

// limits are the settings of a supervisor.
type limits struct {
	restarts int           // consecutive restarts of a component, before the node stops
	pause    time.Duration // before the first restart; restart n waits n times as long
	steady   time.Duration // a run of this length resets the number of restarts
	stop     time.Duration // for each group of components to exit, before it is killed
}

var defaultLimits = limits{restarts: 5, pause: 500 * time.Millisecond, steady: 5 * time.Minute, stop: 2500 * time.Millisecond}

// supervisor restarts components that exit. If a component exits too often, ctx is
// canceled, and its cause contains the last lines of the component's log.
type supervisor struct {
	ctx        context.Context
	cancel     context.CancelCauseFunc
	dir        string
	limits     limits
	mu         sync.Mutex
	components []*component // in the order of their start
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
	ctx, cancel := context.WithCancelCause(ctx)
	return &supervisor{ctx: ctx, cancel: cancel, dir: dir, limits: l}
}

func (s *supervisor) start(name, program string, args ...string) {
	c := &component{
		name: name, args: append([]string{program}, args...), logFile: filepath.Join(s.dir, name+".log"), done: make(chan struct{}),
	}
	s.mu.Lock()
	s.components = append(s.components, c)
	s.mu.Unlock()
	go s.supervise(c)
}

// supervise runs the component until the supervisor stops or the component exits too often.
func (s *supervisor) supervise(c *component) {
	defer close(c.done)
	for restarts := 0; ; restarts++ {
		started := time.Now()
		err := c.run()
		if s.ctx.Err() != nil {
			return
		}
		log.Printf("%s exited: %v, see %s", c.name, err, c.logFile)
		if time.Since(started) >= s.limits.steady {
			restarts = 0
		}
		if restarts == s.limits.restarts {
			s.cancel(fmt.Errorf("%s exited %d times in a row: %v, last lines of its log:\n%s", c.name, restarts+1, err, c.logTail()))
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
	// A signal to the process group of the node must not reach the components.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.launch(cmd); err != nil {
		return err
	}
	return cmd.Wait()
}

// launch starts the process, unless the component is stopping.
func (c *component) launch(cmd *exec.Cmd) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopping {
		return errStopping
	}
	c.cmd = cmd
	return cmd.Start()
}

// signal stops the component with a signal. It is not restarted.
func (c *component) signal(sig syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopping = true
	if c.cmd != nil && c.cmd.Process != nil {
		_ = c.cmd.Process.Signal(sig)
	}
}

// wait returns the reason when the node stops or a component exits too often.
func (s *supervisor) wait() error {
	<-s.ctx.Done()
	return context.Cause(s.ctx)
}

// stop stops the components that use the API, then containerd, then etcd, so that
// acknowledged writes are not lost. It returns when all processes have exited.
func (s *supervisor) stop() {
	log.Print("stopping")
	s.cancel(errStopping)
	s.mu.Lock()
	components := slices.Clone(s.components)
	s.mu.Unlock()
	slices.Reverse(components)
	groups := [3][]*component{}
	for _, c := range components {
		group := slices.Index([]string{"containerd", "etcd"}, c.name) + 1
		groups[group] = append(groups[group], c)
	}
	for _, group := range groups {
		stopGroup(group, s.limits.stop)
	}
}

func stopGroup(group []*component, timeout time.Duration) {
	for _, c := range group {
		sig := syscall.SIGTERM
		if c.name == "kube-apiserver" {
			sig = syscall.SIGKILL // SIGTERM waits for watches of clients, which are all in this node
		}
		c.signal(sig)
	}
	deadline := time.Now().Add(timeout)
	for _, c := range group {
		select {
		case <-c.done:
		case <-time.After(time.Until(deadline)):
			log.Printf("%s did not exit within %s and is killed", c.name, timeout)
			c.signal(syscall.SIGKILL)
			<-c.done
		}
	}
}

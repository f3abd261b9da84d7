// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// quick are limits for short tests.
var quick = limits{restarts: 5, pause: time.Millisecond, steady: time.Hour, stop: 300 * time.Millisecond}

const timeout = 20 * time.Second

func supervise(t *testing.T, l limits) *supervisor {
	t.Helper()
	s := newSupervisor(context.Background(), t.TempDir(), l)
	t.Cleanup(s.stop)
	return s
}

func (s *supervisor) script(name, text string) { s.start(name, "sh", "-c", text) }

// reason returns the result of wait, which must return within the timeout.
func reason(t *testing.T, s *supervisor) error {
	t.Helper()
	select {
	case <-s.ctx.Done():
		return s.wait()
	case <-time.After(timeout):
		t.Fatal("the supervisor did not stop")
		return nil
	}
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Fields(string(text))
}

func eventually(t *testing.T, condition string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(timeout); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("timed out after %s waiting for %s", timeout, condition)
		}
	}
}

func TestFailingComponentStopsTheNodeWithItsLog(t *testing.T) {
	s := supervise(t, quick)
	runs := filepath.Join(s.dir, "runs")
	s.script("kubelet", "echo x >> "+runs+"; echo no such cgroup; exit 3")
	err := reason(t, s)
	for _, want := range []string{"kubelet exited 6 times", "exit status 3", "no such cgroup"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q in it", err, want)
		}
	}
	if got := len(lines(t, runs)); got != 6 {
		t.Errorf("%d runs, want 6", got)
	}
}

func TestMissingProgramIsTheReason(t *testing.T) {
	s := supervise(t, quick)
	s.start("kubelet", "/no/such/program")
	if err := reason(t, s); !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("%v does not name the program", err)
	}
}

func TestSteadyRunResetsTheNumberOfRestarts(t *testing.T) {
	l := quick
	l.steady = 20 * time.Millisecond
	s := supervise(t, l)
	runs := filepath.Join(s.dir, "runs")
	s.script("etcd", "echo x >> "+runs+"; sleep 0.03")
	eventually(t, "three times as many restarts as are allowed in a row", func() bool {
		return s.ctx.Err() != nil || len(lines(t, runs)) > 3*l.restarts
	})
	if err := s.ctx.Err(); err != nil {
		t.Errorf("stopped: %v", s.wait())
	}
}

func TestStopKillsComponentsThatIgnoreTheSignal(t *testing.T) {
	s := newSupervisor(context.Background(), t.TempDir(), quick)
	names := []string{"etcd", "containerd", "kubelet", "kube-proxy"}
	for _, name := range names {
		s.script(name, "trap '' TERM; echo $$ > "+filepath.Join(s.dir, name+".pid")+"; while :; do sleep 0.05; done")
	}
	pids := map[string]int{}
	eventually(t, "the components to start", func() bool {
		for _, c := range s.components {
			c.mu.Lock()
			if len(lines(t, filepath.Join(s.dir, c.name+".pid"))) == 1 {
				pids[c.name] = c.cmd.Process.Pid
			}
			c.mu.Unlock()
		}
		return len(pids) == len(names)
	})
	stopped := make(chan struct{})
	go func() {
		s.stop()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-time.After(timeout):
		t.Fatal("stop did not return")
	}
	for name, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("%s (pid %d) is still running: %v", name, pid, err)
		}
	}
}

func TestStopStopsEtcdLast(t *testing.T) {
	s := newSupervisor(context.Background(), t.TempDir(), limits{restarts: 5, pause: time.Millisecond, steady: time.Hour, stop: timeout})
	order, started := filepath.Join(s.dir, "order"), filepath.Join(s.dir, "started")
	for _, name := range []string{"etcd", "containerd", "kubelet"} {
		s.script(name, "trap 'sleep 0.1; echo "+name+" >> "+order+"; exit' TERM; echo x >> "+started+"; while :; do sleep 0.02; done")
	}
	eventually(t, "the components to start", func() bool { return len(lines(t, started)) == 3 })
	s.stop()
	if got := strings.Join(lines(t, order), " "); got != "kubelet containerd etcd" {
		t.Errorf("stopped in the order %s", got)
	}
}

func TestNothingStartsAfterStop(t *testing.T) {
	l := quick
	l.pause = 50 * time.Millisecond
	s := newSupervisor(context.Background(), t.TempDir(), l)
	runs := filepath.Join(s.dir, "runs")
	s.script("kubelet", "echo x >> "+runs)
	eventually(t, "the first run", func() bool { return len(lines(t, runs)) > 0 })
	s.stop()
	before := len(lines(t, runs))
	time.Sleep(3 * l.pause)
	if got := len(lines(t, runs)); got != before {
		t.Errorf("%d runs after stop", got-before)
	}
}

func TestStoppingComponentDoesNotStart(t *testing.T) {
	c := &component{name: "kubelet", args: []string{"true"}, logFile: filepath.Join(t.TempDir(), "log")}
	c.signal(syscall.SIGTERM) // between two runs, when there is no process to signal
	if err := c.run(); !errors.Is(err, errStopping) {
		t.Errorf("%v, want %v", err, errStopping)
	}
}

func TestPollReturnsTheReasonOfTheSupervisor(t *testing.T) {
	s := supervise(t, quick)
	s.script("kubelet", "echo no such cgroup; exit 3")
	start := time.Now()
	err := poll(s.ctx, "the node to become Ready", func() error { return errors.New("not ready") })
	if err == nil || !strings.Contains(err.Error(), "no such cgroup") {
		t.Errorf("%v, want the end of the kubelet's log", err)
	}
	if took := time.Since(start); took > timeout {
		t.Errorf("took %s", took)
	}
}

// The stand-in for kubectl supports only `apply`, as if the kubelet never registered the node.
func TestInstallFailsIfTheKubeletCannotStart(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "kubectl"), []byte("#!/bin/sh\ncase \"$*\" in *apply*) exit 0;; esac\necho not found; exit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder+":"+os.Getenv("PATH"))
	s := supervise(t, quick)
	s.script("kubelet", "echo no such cgroup; exit 3")
	start := time.Now()
	err := newManifests(filepath.Join(folder, "coredns.yaml")).install(s.ctx)
	if err == nil || !strings.Contains(err.Error(), "no such cgroup") {
		t.Errorf("%v, want the end of the kubelet's log", err)
	}
	if took := time.Since(start); took > timeout {
		t.Errorf("took %s", took)
	}
}

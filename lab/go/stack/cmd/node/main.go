// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Command node is a stand-in for k3s in a container of k3d. It runs one node of
// upstream Kubernetes, with etcd and containerd. It implements the command
// `server` with the flags that k3d passes, rejects others, and prints the lines
// that k3d waits for.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	log.SetFlags(log.LstdFlags | log.LUTC)
	log.SetPrefix("lab-node ")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	defer stop()
	options, err := parse(os.Args[1:])
	if err == nil {
		err = run(ctx, options)
	}
	if err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
	log.Print("stopped")
}

// options are the settings of k3s that the node implements.
type options struct {
	tlsSANs    []string
	nodeLabels []string
	ignored    []string // accepted flags without effect, with the reason
}

// absentParts are values of --disable that the node does not have. It always has CoreDNS.
var absentParts = []string{"local-storage", "metrics-server", "runtimes", "servicelb", "traefik"}

const knownFlags = "--tls-san, --node-label, --disable and --token"

// parse reads the command line of k3s. k3d passes --tls-san and --node-label, and --cluster-init to the first of several
// servers. Users pass the other flags, so unsupported ones are errors.
func parse(args []string) (options, error) {
	var o options
	if len(args) == 0 || args[0] != "server" {
		return o, fmt.Errorf("the lab's node image only runs servers, not %q: create the cluster with `agents: 0`", strings.Join(args, " "))
	}
	for i := 1; i < len(args); i++ {
		name, value, inline := strings.Cut(args[i], "=")
		next := func() string {
			if !inline && i+1 < len(args) {
				i++
				value = args[i]
			}
			return value
		}
		switch name {
		case "--cluster-init", "--server":
			return o, errors.New("the lab's node image runs one server per cluster: create the cluster with `servers: 1`")
		case "--tls-san":
			o.tlsSANs = append(o.tlsSANs, strings.Split(next(), ",")...)
		case "--node-label":
			o.nodeLabels = append(o.nodeLabels, next())
		case "--disable":
			for _, part := range strings.Split(next(), ",") {
				if !slices.Contains(absentParts, part) {
					return o, fmt.Errorf("the lab's node image cannot disable %q, it accepts %s", part, strings.Join(absentParts, ", "))
				}
				o.ignored = append(o.ignored, "--disable="+part+": the node does not have this part")
			}
		case "--token", "-t":
			next()
			o.ignored = append(o.ignored, name+": the cluster has one node only")
		default:
			return o, fmt.Errorf("the lab's node image does not support the k3s argument %q: remove it, supported are %s", name, knownFlags)
		}
	}
	return o, nil
}

// node contains the settings, the name and the address of the node.
type node struct {
	options
	name string
	ip   net.IP
}

func run(ctx context.Context, o options) error {
	n, err := newNode(o)
	if err != nil {
		return err
	}
	for _, flag := range o.ignored {
		log.Printf("ignored k3s argument: %s", flag)
	}
	if err := n.writeFiles(); err != nil {
		return err
	}
	s := newSupervisor(ctx, logDir, defaultLimits)
	defer s.stop()
	ctx = s.ctx // canceled with the reason if a component keeps failing

	s.start("etcd", "etcd",
		"--data-dir="+dataDir+"/db/etcd", "--listen-client-urls="+etcdURL, "--advertise-client-urls="+etcdURL,
		"--listen-peer-urls=http://127.0.0.1:2380", "--unsafe-no-fsync", "--log-level=warn")
	s.start("containerd", "containerd", "--config="+containerdConfig)
	s.start("kube-apiserver", "kube-apiserver", n.apiServerFlags()...)
	log.Print("Running kube-apiserver")
	imported := make(chan error, 1)
	go func() { imported <- importImages(ctx) }()
	if err := n.waitForAPI(ctx); err != nil {
		return err
	}
	if err := <-imported; err != nil { // before any pod starts, because nothing can be pulled
		return err
	}
	s.start("kube-controller-manager", "kube-controller-manager", n.controllerManagerFlags()...)
	s.start("kube-scheduler", "kube-scheduler", "--kubeconfig="+adminKubeconfig, "--leader-elect=false")
	s.start("kubelet", "kubelet", "--config="+kubeletConfig, "--kubeconfig="+kubeletKubeconfig,
		"--hostname-override="+n.name, "--node-ip="+n.ip.String(), "--node-labels="+strings.Join(n.nodeLabels, ","))
	s.start("kube-proxy", "kube-proxy", "--config="+proxyConfig)

	manifests := newManifests(corednsFile)
	if err := manifests.install(ctx); err != nil {
		return err
	}
	log.Print("k3s is up and running (k3d waits for this line; this is the lab's stand-in for k3s)")
	log.Print("Cluster dns configmap has been set successfully")
	go manifests.watch(ctx)
	return s.wait()
}

func newNode(o options) (*node, error) {
	name, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	// This sends no packet. The kernel selects the address of the default route.
	c, err := net.Dial("udp4", "192.0.2.1:9")
	if err != nil {
		return nil, fmt.Errorf("the container has no IPv4 default route: %w", err)
	}
	defer c.Close()
	return &node{options: o, name: name, ip: c.LocalAddr().(*net.UDPAddr).IP}, nil
}

func (n *node) waitForAPI(ctx context.Context) error {
	return poll(ctx, "the API server's /readyz", func() error {
		return exec.CommandContext(ctx, "kubectl", "--kubeconfig="+adminKubeconfig, "get", "--raw=/readyz").Run()
	})
}

func waitForSocket(ctx context.Context, path string) error {
	return poll(ctx, path, func() error {
		c, err := net.Dial("unix", path)
		if err == nil {
			c.Close()
		}
		return err
	})
}

// importImages imports the images of pods into containerd, once for each volume.
func importImages(ctx context.Context) error {
	if err := waitForSocket(ctx, containerdSocket); err != nil {
		return err
	}
	log.Print("Containerd is now running")
	if _, err := os.Stat(importedMark); err == nil {
		return nil
	}
	out, err := exec.CommandContext(ctx, "ctr", "--namespace=k8s.io", "images", "import", podImages).CombinedOutput()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("importing %s failed: %w: %s", podImages, err, strings.TrimSpace(string(out)))
	}
	return os.WriteFile(importedMark, nil, 0o644)
}

const pollTimeout = 90 * time.Second

// poll calls attempt until it succeeds. It returns an error after pollTimeout, or the cause when ctx is canceled.
func poll(ctx context.Context, condition string, attempt func() error) error {
	for start := time.Now(); ; {
		err := attempt()
		if err == nil {
			return nil
		}
		if ctx.Err() == nil && time.Since(start) > pollTimeout {
			return fmt.Errorf("timed out after %s waiting for %s: %w, see the logs in %s", pollTimeout, condition, err, logDir)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(150 * time.Millisecond):
		}
	}
}

// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"strings"
	"time"
)

// corednsFile is where k3d expects k3s's CoreDNS manifest: it writes the
// network's containers into its NodeHosts and relies on the node to apply it.
const corednsFile = dataDir + "/manifests/coredns.yaml"

//go:embed config/coredns.yaml
var corednsYAML string

// manifests applies the CoreDNS manifest whenever the file changes.
type manifests struct{ file, applied string }

func newManifests(file string) *manifests { return &manifests{file: file} }

// install applies what a former start left, or our own, and waits for the node.
func (m *manifests) install(ctx context.Context) error {
	if _, err := os.Stat(m.file); errors.Is(err, fs.ErrNotExist) {
		if err := writeFile(m.file, []byte(corednsYAML), 0o644); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(m.file)
	if err != nil {
		return err
	}
	if err := poll(ctx, "CoreDNS to be applied", func() error { return kubectl(ctx, "apply", "--filename="+m.file) }); err != nil {
		return err
	}
	m.applied = string(text)
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	return poll(ctx, "the node to be ready", func() error {
		if err := kubectl(ctx, "label", "--overwrite", "node", name, "node-role.kubernetes.io/control-plane=true"); err != nil {
			return err
		}
		return kubectl(ctx, "wait", "--for=condition=Ready", "--timeout=20s", "node/"+name)
	})
}

func (m *manifests) watch(ctx context.Context) {
	for ctx.Err() == nil {
		time.Sleep(300 * time.Millisecond)
		text, err := os.ReadFile(m.file)
		if err != nil || len(text) == 0 || string(text) == m.applied {
			continue
		}
		if err := kubectl(ctx, "apply", "--filename="+m.file); err != nil {
			log.Printf("%s not applied, trying again: %s", m.file, err)
			continue
		}
		m.applied = string(text)
		log.Printf("applied %s after a change", m.file)
		// The kubelet looks at a pod's ConfigMaps once a minute, or when the pod changes.
		stamp := fmt.Sprintf("lab/node-hosts=%d", time.Now().Unix())
		if err := kubectl(ctx, "annotate", "--overwrite", "--namespace=kube-system", "pods", "--selector=k8s-app=kube-dns", stamp); err != nil {
			log.Printf("CoreDNS takes up the change within a minute: %s", err)
		}
	}
}

func kubectl(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "kubectl", append([]string{"--kubeconfig=" + adminKubeconfig}, args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("kubectl %s: %s", args[0], strings.TrimSpace(string(out)))
	}
	return nil
}

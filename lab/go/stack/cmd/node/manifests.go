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

// corednsFile is the path of the CoreDNS manifest of k3s. k3d writes the containers of
// the network into its key NodeHosts, and expects that the node applies it.
const corednsFile = dataDir + "/manifests/coredns.yaml"

//go:embed config/coredns.yaml
var corednsYAML string

// manifests applies the CoreDNS manifest after each change of the file.
type manifests struct{ file, applied string }

func newManifests(file string) *manifests { return &manifests{file: file} }

// install applies the existing manifest, or that of this program, and waits for the node to become Ready.
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
	if err := poll(ctx, "kubectl apply of CoreDNS", func() error { return kubectl(ctx, "apply", "--filename="+m.file) }); err != nil {
		return err
	}
	m.applied = string(text)
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	return poll(ctx, "the node to become Ready", func() error {
		if err := kubectl(ctx, "label", "--overwrite", "node", name, "node-role.kubernetes.io/control-plane=true"); err != nil {
			return err
		}
		return kubectl(ctx, "wait", "--for=condition=Ready", "--timeout=20s", "node/"+name)
	})
}

// watch applies the manifest after each change until ctx is canceled.
func (m *manifests) watch(ctx context.Context) {
	for ctx.Err() == nil {
		time.Sleep(300 * time.Millisecond)
		text, err := os.ReadFile(m.file)
		if err != nil || len(text) == 0 || string(text) == m.applied {
			continue
		}
		if err := kubectl(ctx, "apply", "--filename="+m.file); err != nil {
			log.Printf("applying %s failed, trying again: %s", m.file, err)
			continue
		}
		m.applied = string(text)
		log.Printf("applied %s after a change", m.file)
		// The kubelet updates the ConfigMaps of a pod once a minute, and after a change of the pod.
		stamp := fmt.Sprintf("lab/node-hosts=%d", time.Now().Unix())
		if err := kubectl(ctx, "annotate", "--overwrite", "--namespace=kube-system", "pods", "--selector=k8s-app=kube-dns", stamp); err != nil {
			log.Printf("annotating CoreDNS failed, so it loads the change within a minute: %s", err)
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

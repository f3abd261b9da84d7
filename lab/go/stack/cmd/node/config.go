// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"crypto/x509/pkix"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

const (
	dataDir           = "/var/lib/rancher/k3s/server"
	tlsDir            = dataDir + "/tls"
	adminKubeconfig   = dataDir + "/cred/admin.kubeconfig"
	kubeletKubeconfig = dataDir + "/cred/kubelet.kubeconfig"
	containerdConfig  = "/etc/containerd/config.toml"
	containerdSocket  = "/run/containerd/containerd.sock"
	kubeletConfig     = "/etc/kubernetes/kubelet.yaml"
	proxyConfig       = "/etc/kubernetes/kube-proxy.yaml"
	podImages         = "/images/pods.tar"
	importedMark      = "/var/lib/containerd/lab-pod-images-imported"
	etcdURL           = "http://127.0.0.1:2379"

	// The values of k3s.
	podCIDR       = "10.42.0.0/16"
	nodePodCIDR   = "10.42.0.0/24"
	serviceCIDR   = "10.43.0.0/16"
	serviceIP     = "10.43.0.1"
	dnsIP         = "10.43.0.10"
	clusterDomain = "cluster.local"
)

var (
	//go:embed config/containerd.toml
	containerdTOML string
	//go:embed config/cni.json
	cniJSON string
	//go:embed config/kubelet.yaml
	kubeletYAML string
	//go:embed config/kube-proxy.yaml
	proxyYAML string
)

func (n *node) writeFiles() error {
	if err := os.MkdirAll(logDir, 0o755); err != nil {
		return err
	}
	ca, err := n.writeCertificates()
	if err != nil {
		return err
	}
	fill := strings.NewReplacer("$TLS", tlsDir, "$ADMIN_KUBECONFIG", adminKubeconfig, "$NODE", n.name, "$POD_CIDR", podCIDR,
		"$PODS", nodePodCIDR, "$DNS_IP", dnsIP, "$DOMAIN", clusterDomain, "$CONTAINERD", containerdSocket)
	for path, text := range map[string]string{
		containerdConfig:                 containerdTOML,
		"/etc/cni/net.d/10-lab.conflist": cniJSON,
		kubeletConfig:                    kubeletYAML,
		proxyConfig:                      proxyYAML,
	} {
		if err := writeFile(path, []byte(fill.Replace(text)), 0o644); err != nil {
			return err
		}
	}
	for path, user := range map[string]string{
		adminKubeconfig: "admin", kubeletKubeconfig: "kubelet", kubeconfigOutput(): "admin",
	} {
		if err := writeKubeconfig(path, ca, user); err != nil {
			return err
		}
	}
	return nil
}

// kubeconfigOutput returns the path from which k3d reads the kubeconfig.
func kubeconfigOutput() string {
	if path := os.Getenv("K3S_KUBECONFIG_OUTPUT"); path != "" {
		return path
	}
	return "/etc/rancher/k3s/k3s.yaml"
}

func (n *node) writeCertificates() (*authority, error) {
	ca, err := loadOrCreateAuthority()
	if err != nil {
		return nil, err
	}
	if _, err := loadKey("service-account"); errors.Is(err, fs.ErrNotExist) {
		_, err = createKey("service-account")
		if err != nil {
			return nil, err
		}
	}
	hosts := append([]string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + clusterDomain,
		"localhost", n.name, "127.0.0.1", "0.0.0.0", serviceIP, n.ip.String()}, n.tlsSANs...)
	for _, err := range []error{
		ca.ensure("apiserver", pkix.Name{CommonName: "kube-apiserver"}, hosts...),
		ca.ensure("admin", pkix.Name{Organization: []string{"system:masters"}, CommonName: "system:admin"}),
		ca.ensure("kubelet", pkix.Name{Organization: []string{"system:nodes"}, CommonName: "system:node:" + n.name}, n.name, n.ip.String()),
		ca.ensure("aggregator", pkix.Name{CommonName: "system:aggregator"}),
	} {
		if err != nil {
			return nil, err
		}
	}
	return ca, nil
}

func (n *node) apiServerFlags() []string {
	return []string{
		"--etcd-servers=" + etcdURL,
		"--secure-port=6443",
		"--advertise-address=" + n.ip.String(),
		"--allow-privileged=true",
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--service-cluster-ip-range=" + serviceCIDR,
		"--tls-cert-file=" + certFile("apiserver"),
		"--tls-private-key-file=" + keyFile("apiserver"),
		"--client-ca-file=" + certFile("ca"),
		"--kubelet-certificate-authority=" + certFile("ca"),
		"--kubelet-client-certificate=" + certFile("admin"),
		"--kubelet-client-key=" + keyFile("admin"),
		"--kubelet-preferred-address-types=InternalIP,Hostname",
		"--service-account-issuer=https://kubernetes.default.svc." + clusterDomain,
		"--service-account-key-file=" + keyFile("service-account"),
		"--service-account-signing-key-file=" + keyFile("service-account"),
		"--proxy-client-cert-file=" + certFile("aggregator"),
		"--proxy-client-key-file=" + keyFile("aggregator"),
		"--requestheader-client-ca-file=" + certFile("ca"),
		// Both client CAs are the same, so the name identifies the aggregator.
		"--requestheader-allowed-names=system:aggregator",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
	}
}

func (n *node) controllerManagerFlags() []string {
	return []string{
		"--kubeconfig=" + adminKubeconfig,
		"--leader-elect=false",
		"--use-service-account-credentials",
		"--service-account-private-key-file=" + keyFile("service-account"),
		"--root-ca-file=" + certFile("ca"),
		"--cluster-signing-cert-file=" + certFile("ca"),
		"--cluster-signing-key-file=" + keyFile("ca"),
		"--allocate-node-cidrs",
		"--cluster-cidr=" + podCIDR,
	}
}

func writeKubeconfig(path string, ca *authority, user string) error {
	encoded := map[string]string{}
	for name, file := range map[string]string{"ca": certFile("ca"), "cert": certFile(user), "key": keyFile(user)} {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		encoded[name] = base64.StdEncoding.EncodeToString(text)
	}
	return writeFile(path, fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: default
  cluster: {server: "https://127.0.0.1:6443", certificate-authority-data: %s}
users:
- name: default
  user: {client-certificate-data: %s, client-key-data: %s}
contexts:
- name: default
  context: {cluster: default, user: default}
current-context: default
`, encoded["ca"], encoded["cert"], encoded["key"]), 0o600)
}

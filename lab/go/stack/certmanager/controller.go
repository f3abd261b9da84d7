// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/yaml"

	config "github.com/cert-manager/cert-manager/pkg/apis/config/controller/v1alpha1"
	"github.com/cert-manager/cert-manager/pkg/controller"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/approver"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/ca"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/selfsigned"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificaterequests/vault"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/issuing"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/keymanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/metrics"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/readiness"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/requestmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/revisionmanager"
	_ "github.com/cert-manager/cert-manager/pkg/controller/certificates/trigger"
	_ "github.com/cert-manager/cert-manager/pkg/controller/clusterissuers"
	_ "github.com/cert-manager/cert-manager/pkg/controller/issuers"
	"github.com/cert-manager/cert-manager/pkg/healthz"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/ca"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/selfsigned"
	_ "github.com/cert-manager/cert-manager/pkg/issuer/vault"
	"github.com/cert-manager/cert-manager/pkg/logs"
)

// As cert-manager's own defaults.
const (
	workers     = 5
	healthAddr  = "0.0.0.0:9403"
	metricsAddr = "0.0.0.0:9402"
)

type controllers struct {
	options controller.ContextOptions
	enabled []string
	file    string
}

func newController() (part, error) {
	c := &controllers{}
	c.options.ClusterIssuerAmbientCredentials = true
	c.options.KubernetesAPIQPS, c.options.KubernetesAPIBurst = 20, 50
	c.options.CertificateRequestMinimumBackoffDuration = time.Hour
	c.options.CertificateRequestMaximumBackoffDuration = 32 * time.Hour
	c.options.CopiedAnnotationPrefixes = []string{"*", "-kubectl.kubernetes.io/", "-fluxcd.io/", "-argocd.argoproj.io/"}
	return part{c.flags, c.run}, nil
}

func (c *controllers) flags(fs *pflag.FlagSet) {
	o := &c.options
	fs.StringVar(&o.Kubeconfig, "kubeconfig", "", "kubeconfig file, when not running in the cluster")
	fs.StringVar(&o.Namespace, "namespace", "", "only this namespace")
	fs.StringVar(&o.ClusterResourceNamespace, "cluster-resource-namespace", "kube-system", "namespace of a ClusterIssuer's Secrets")
	fs.BoolVar(&o.EnableOwnerRef, "enable-certificate-owner-ref", false, "a Certificate owns its Secret")
	fs.BoolVar(&o.IssuerAmbientCredentials, "issuer-ambient-credentials", false, "Issuers may use ambient credentials")
	fs.BoolVar(&o.ClusterIssuerAmbientCredentials, "cluster-issuer-ambient-credentials", true, "ClusterIssuers may use ambient credentials")
	fs.DurationVar(&o.CertificateRequestMinimumBackoffDuration, "certificate-request-minimum-backoff-duration",
		o.CertificateRequestMinimumBackoffDuration, "first wait after a failed request")
	fs.StringVar(&c.file, "config", "", "file of settings; of those, only the waits after a failed request are used")
	fs.StringSliceVar(&c.enabled, "controllers", []string{"*"}, "controllers to run; -name leaves one out")
	ignore(fs, "leader-elect", "leader-election-namespace", "leader-election-lease-duration",
		"leader-election-renew-deadline", "leader-election-retry-period", "acme-http01-solver-image",
		"max-concurrent-challenges", "acme-http01-solver-extra-labels")
}

func (c *controllers) wanted(name string) bool {
	if slices.Contains(c.enabled, "-"+name) {
		return false
	}
	onlyRemoved := !slices.ContainsFunc(c.enabled, func(e string) bool { return !strings.HasPrefix(e, "-") })
	return onlyRemoved || slices.Contains(c.enabled, "*") || slices.Contains(c.enabled, name)
}

// readFile takes from the chart's file of settings what the lab uses of it.
// cert-manager's own reader would bring in every issuer that it knows.
func (c *controllers) readFile() error {
	if c.file == "" {
		return nil
	}
	text, err := os.ReadFile(c.file)
	if err != nil {
		return err
	}
	var read config.ControllerConfiguration
	if err := yaml.UnmarshalStrict(text, &read); err != nil {
		return fmt.Errorf("file of settings %s: %w", c.file, err)
	}
	if wait := read.CertificateRequestMinimumBackoffDuration; wait != nil {
		c.options.CertificateRequestMinimumBackoffDuration = wait.Duration.Duration
	}
	if wait := read.CertificateRequestMaximumBackoffDuration; wait != nil {
		c.options.CertificateRequestMaximumBackoffDuration = wait.Duration.Duration
	}
	return nil
}

func (c *controllers) run(ctx context.Context) error {
	log := logs.FromContext(ctx)
	if err := c.readFile(); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	factory, err := controller.NewContextFactory(ctx, c.options)
	if err != nil {
		return err
	}
	shared, err := factory.Build()
	if err != nil {
		return err
	}
	api := shared.SharedInformerFactory.Certmanager().V1()
	shared.Metrics.SetupCertificateCollector(api.Certificates().Lister())
	shared.Metrics.SetupIssuerCollector(api.Issuers().Lister())
	if c.options.Namespace == "" {
		shared.Metrics.SetupClusterIssuerCollector(api.ClusterIssuers().Lister())
	}
	for _, name := range slices.Sorted(maps.Keys(controller.Known())) {
		if !c.wanted(name) {
			log.Info("controller not wanted", "controller", name)
			continue
		}
		loop, err := controller.Known()[name](factory)
		if err != nil {
			return fmt.Errorf("controller %s: %w", name, err)
		}
		group.Go(func() error { return loop.Run(workers, ctx) })
	}
	shared.SharedInformerFactory.Start(ctx.Done())
	shared.KubeSharedInformerFactory.Start(ctx.Done())
	serve(ctx, group, shared)
	log.Info("controllers started")
	return group.Wait()
}

func serve(ctx context.Context, group *errgroup.Group, shared *controller.Context) {
	group.Go(func() error {
		l, err := net.Listen("tcp", healthAddr)
		if err != nil {
			return err
		}
		return healthz.NewServer(20*time.Second).Start(ctx, l)
	})
	group.Go(func() error {
		l, err := net.Listen("tcp", metricsAddr)
		if err != nil {
			return err
		}
		server := shared.Metrics.NewServer(l)
		context.AfterFunc(ctx, func() { server.Close() })
		_ = server.Serve(l)
		return ctx.Err()
	})
}

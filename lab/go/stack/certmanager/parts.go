// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"os"
	"time"

	"github.com/spf13/pflag"
	admissionregistration "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/cert-manager/cert-manager/internal/webhook"
	certmanagerapi "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/cert-manager/cert-manager/pkg/controller/cainjector"
	"github.com/cert-manager/cert-manager/pkg/logs"
	"github.com/cert-manager/cert-manager/pkg/util"
	"github.com/cert-manager/cert-manager/pkg/util/cmapichecker"
	"github.com/cert-manager/cert-manager/pkg/webhook/options"
)

func newWebhook() (part, error) {
	config, err := options.NewWebhookConfiguration()
	if err != nil {
		return part{}, err
	}
	flags := func(fs *pflag.FlagSet) { options.AddConfigFlags(fs, config) }
	return part{flags, func(ctx context.Context) error {
		server, err := webhook.NewCertManagerWebhookServer(logs.FromContext(ctx), *config)
		if err != nil {
			return err
		}
		return server.Run(ctx)
	}}, nil
}

func newCAInjector() (part, error) {
	var namespace, metrics string
	flags := func(fs *pflag.FlagSet) {
		fs.StringVar(&namespace, "namespace", "", "only this namespace")
		fs.StringVar(&metrics, "metrics-listen-address", metricsAddr, "where to serve metrics, 0 for nowhere")
		ignore(fs, "leader-elect", "leader-election-namespace", "leader-election-lease-duration",
			"leader-election-renew-deadline", "leader-election-retry-period")
	}
	return part{flags, func(ctx context.Context) error {
		types := runtime.NewScheme()
		for _, add := range []func(*runtime.Scheme) error{
			scheme.AddToScheme, certmanagerapi.AddToScheme, apiextensions.AddToScheme,
			apiregistration.AddToScheme, admissionregistration.AddToScheme,
		} {
			if err := add(types); err != nil {
				return err
			}
		}
		config, err := ctrl.GetConfig()
		if err != nil {
			return err
		}
		// The injectors take their name as a field manager from the user agent.
		config = util.RestConfigWithUserAgent(config, "cainjector")
		manager, err := ctrl.NewManager(config, ctrl.Options{
			Scheme:  types,
			Metrics: metricsserver.Options{BindAddress: metrics},
			// Only metadata of Secrets is watched; their data is read when wanted.
			Client: client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
		})
		if err != nil {
			return err
		}
		err = cainjector.RegisterAllInjectors(ctx, manager, cainjector.SetupOptions{
			Namespace:                    namespace,
			EnableCertificatesDataSource: true,
			EnabledReconcilersFor: map[string]bool{
				cainjector.MutatingWebhookConfigurationName:   true,
				cainjector.ValidatingWebhookConfigurationName: true,
				cainjector.APIServiceName:                     true,
				cainjector.CustomResourceDefinitionName:       true,
			},
		})
		if err != nil {
			return err
		}
		return manager.Start(ctx)
	}}, nil
}

// newAPICheck is the chart's Job after an installation: it succeeds once the
// API, the webhook and the injected CA work together.
func newAPICheck() (part, error) {
	wait, namespace := time.Duration(0), os.Getenv("POD_NAMESPACE")
	flags := func(fs *pflag.FlagSet) {
		fs.DurationVar(&wait, "wait", 0, "how long to try")
	}
	return part{flags, func(ctx context.Context) error {
		config, err := ctrl.GetConfig()
		if err != nil {
			return err
		}
		checker, err := cmapichecker.New(config, namespace)
		if err != nil {
			return err
		}
		deadline := time.Now().Add(wait)
		for {
			err := checker.Check(ctx)
			if err == nil || time.Now().After(deadline) {
				return err
			}
			logs.FromContext(ctx).Info("not ready", "error", err.Error())
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(time.Second):
			}
		}
	}}, nil
}

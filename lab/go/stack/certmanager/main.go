// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Command certmanager is cert-manager's controller, webhook, cainjector and
// API check in one program, chosen by the name it is called by.
//
// cert-manager's own main packages are modules that no Go proxy serves, so
// these start the same libraries. Left out: the ACME and Venafi issuers, the
// shims for Ingress and Gateway, and leader election (the lab runs one of
// each). The flags are those that cert-manager's chart sets.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	logsapi "k8s.io/component-base/logs/api/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/cert-manager/cert-manager/pkg/logs"
	"github.com/cert-manager/cert-manager/pkg/util/feature"
)

// part is one of the programs: its flags, and what runs until ctx ends.
type part struct {
	flags func(*pflag.FlagSet)
	run   func(ctx context.Context) error
}

func main() {
	parts := map[string]func() (part, error){
		"controller":      newController,
		"webhook":         newWebhook,
		"cainjector":      newCAInjector,
		"startupapicheck": newAPICheck,
	}
	name := filepath.Base(os.Args[0])
	newPart, known := parts[name]
	if !known {
		fmt.Fprintf(os.Stderr, "%s: call this program controller, webhook, cainjector or startupapicheck\n", name)
		os.Exit(2)
	}
	p, err := newPart()
	if err == nil {
		err = command(name, p).ExecuteContext(ctrl.SetupSignalHandler())
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintf(os.Stderr, "%s: %s\n", name, err)
		os.Exit(1)
	}
}

func command(name string, p part) *cobra.Command {
	logging := logsapi.NewLoggingConfiguration()
	cmd := &cobra.Command{
		Use:           name,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logs.InitLogs()
			defer logs.FlushLogs()
			if err := logs.ValidateAndApply(logging); err != nil {
				return err
			}
			ctrl.SetLogger(logs.Log)
			return p.run(logr.NewContext(cmd.Context(), logs.Log.WithName(name)))
		},
	}
	p.flags(cmd.Flags())
	if cmd.Flags().Lookup("v") == nil {
		logs.AddFlags(logging, cmd.Flags())
	}
	cmd.Flags().Lookup("v").NoOptDefVal = "2" // the chart writes a bare -v
	if cmd.Flags().Lookup("feature-gates") == nil {
		feature.DefaultMutableFeatureGate.AddFlag(cmd.Flags())
	}
	return cmd
}

// ignore takes flags of the chart that mean nothing here.
func ignore(fs *pflag.FlagSet, names ...string) {
	for _, name := range names {
		fs.String(name, "", "accepted, not used")
	}
}

// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Command embed writes the Go files that hold Linkerd's charts, as a build with
// `-tags prod` wants them; without them the programs read their charts from the
// source folder at run time. Its argument is a writable copy of that folder.
package main

import (
	"log"
	"net/http"
	"os"
	"path/filepath"

	"github.com/shurcooL/vfsgen"
)

func main() {
	root := os.Args[1]
	for charts, output := range map[string]string{
		"charts":              "pkg/charts/static/generated_linkerd_templates.gogen.go",
		"multicluster/charts": "multicluster/static/generated_multicluster_templates.gogen.go",
		"viz/charts":          "viz/static/generated_viz_templates.gogen.go",
		"jaeger/charts":       "jaeger/static/generated_jaeger_templates.gogen.go",
	} {
		err := vfsgen.Generate(http.Dir(filepath.Join(root, charts)), vfsgen.Options{
			Filename:     filepath.Join(root, output),
			PackageName:  "static",
			BuildTags:    "prod",
			VariableName: "Templates",
		})
		if err != nil {
			log.Fatal(err)
		}
	}
}

// Copyright (c) 2026 The servicemesh.pki authors
// GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Command balancer is a stand-in for the load balancer of k3d. It renders the file
// that k3d writes as a configuration of nginx, and reloads nginx after each change.
// nginx handles all traffic.
package main

import (
	"bytes"
	"fmt"
	"log"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/template"
	"time"

	"sigs.k8s.io/yaml"
)

const (
	valuesFile = "/etc/confd/values.yaml"
	configFile = "/etc/nginx/nginx.conf"
)

// values is the content of the file of k3d. A key of Ports is a port and a protocol, such as "80.tcp".
type values struct {
	Ports    map[string][]string `json:"ports"`
	Settings struct {
		WorkerConnections   int `json:"workerConnections"`
		DefaultProxyTimeout int `json:"defaultProxyTimeout"`
	} `json:"settings"`
}

type listener struct {
	Name, Port string
	UDP        bool
	Servers    []string
}

var config = template.Must(template.New("nginx").Parse(`load_module /usr/lib/nginx/modules/ngx_stream_module.so;
error_log stderr notice;
pid /run/nginx.pid;
worker_processes 2;
events { worker_connections {{.Connections}}; }
stream {
{{- range .Listeners}}
  upstream {{.Name}} {
  {{- $port := .Port}}
  {{- range .Servers}}
    server {{.}}:{{$port}} max_fails=1 fail_timeout=10s;
  {{- end}}
  }
  server {
    listen {{.Port}}{{if .UDP}} udp{{end}};
    proxy_pass {{.Name}};
    proxy_timeout {{$.Timeout}};
    proxy_connect_timeout 2s;
  }
{{- end}}
}
`))

func render(text []byte) ([]byte, error) {
	var v values
	if err := yaml.Unmarshal(text, &v); err != nil {
		return nil, err
	}
	data := struct {
		Connections, Timeout int
		Listeners            []listener
	}{max(v.Settings.WorkerConnections, 1024), max(v.Settings.DefaultProxyTimeout, 600), nil}
	for _, key := range slices.Sorted(maps.Keys(v.Ports)) {
		port, protocol, _ := strings.Cut(key, ".")
		data.Listeners = append(data.Listeners, listener{
			Name: "port_" + port + "_" + protocol, Port: port, UDP: protocol == "udp", Servers: v.Ports[key],
		})
	}
	if len(data.Listeners) == 0 {
		return nil, fmt.Errorf("%s contains no ports", valuesFile)
	}
	var out bytes.Buffer
	err := config.Execute(&out, data)
	return out.Bytes(), err
}

// update writes the configuration of nginx if the file of k3d changed, and returns its content and whether it did.
func update(last []byte) ([]byte, bool) {
	text, err := os.ReadFile(valuesFile)
	if err != nil || len(text) == 0 || bytes.Equal(text, last) {
		return last, false
	}
	rendered, err := render(text)
	if err == nil {
		err = os.WriteFile(configFile, rendered, 0o644)
	}
	if err != nil {
		log.Printf("invalid configuration, not applied: %s", err)
		return text, false
	}
	return text, true
}

func startNginx() (*exec.Cmd, chan error) {
	cmd := exec.Command("/usr/sbin/nginx", "-c", configFile, "-g", "daemon off;")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	exited := make(chan error, 1)
	if err := cmd.Start(); err != nil {
		exited <- err
		return cmd, exited
	}
	go func() { exited <- cmd.Wait() }()
	return cmd, exited
}

func main() {
	log.SetPrefix("lab-balancer ")
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	tick := time.NewTicker(200 * time.Millisecond)
	var nginx *exec.Cmd
	var exited chan error
	var last []byte
	for {
		var changed bool
		if last, changed = update(last); changed && nginx == nil {
			nginx, exited = startNginx()
		} else if changed {
			_ = nginx.Process.Signal(syscall.SIGHUP)
		}
		select {
		case <-signals:
			if nginx != nil {
				_ = nginx.Process.Signal(syscall.SIGTERM)
				<-exited
			}
			return
		case err := <-exited:
			// nginx exits if the name of a server does not resolve yet.
			log.Printf("nginx exited: %v, restarting it", err)
			nginx, exited = nil, nil
			last = nil
			time.Sleep(time.Second)
		case <-tick.C:
		}
	}
}

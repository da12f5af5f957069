//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

var authorityData = regexp.MustCompile(`certificate-authority-data: ([A-Za-z0-9+/=]+)`)

// answers waits until the API server says that it is ready.
func answers(address, kubeconfig string) error {
	deadline := time.Now().Add(patience)
	var last error
	for time.Now().Before(deadline) {
		if last = ready(address, kubeconfig); last == nil {
			return nil
		}
		time.Sleep(200 * time.Millisecond)
	}
	return fmt.Errorf("the API server did not become ready within %s: %w", patience, last)
}

func ready(address, kubeconfig string) error {
	config, err := os.ReadFile(kubeconfig)
	if err != nil {
		return err
	}
	found := authorityData.FindSubmatch(config)
	if found == nil {
		return errors.New("the kubeconfig names no authority")
	}
	ca, err := base64.StdEncoding.DecodeString(string(found[1]))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true,
	}}
	answer, err := client.Get(address + "/readyz")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the API server's /readyz: %s", answer.Status)
	}
	return nil
}

// tool runs one of the cluster's programs against the cluster.
func (p *places) tool(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin(), program), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+p.kubeconfig(), "HELM_NO_PLUGINS=1")
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(complaints.String()))
	}
	return out.String(), nil
}

// step is one command on the way to a cluster that is whole.
type step struct {
	says    string
	program string
	args    []string
}

// platform puts onto the cluster what the testbed's charts expect of one.
func platform(ctx context.Context, p *places, show *steps) error {
	foreign := func(module, path string) string { return filepath.Join(p.deps, "cluster", "foreign", module, path) }
	apply := []string{"apply", "--server-side", "--force-conflicts", "-f"}[:4:4] // appended to twice
	err := p.do(ctx, show, []step{
		{"definitions of the Prometheus operator", "kubectl", append(apply, foreign("prometheus-operator", "crds"))},
		{"they are known", "kubectl", []string{"wait", "--for=condition=Established", "crd", "--all", "--timeout=" + patience.String()}},
		{"CoreDNS, metrics-server, network policies, volumes, Prometheus, Alertmanager", "kubectl", append(apply, p.repo("deploy/cluster/manifests"))},
	})
	if err != nil {
		return err
	}
	if err := chaosMesh(ctx, p, show, foreign("chaos-mesh", "chart")); err != nil {
		return err
	}
	return p.do(ctx, show, []step{
		{"the node is ready", "kubectl", []string{"wait", "--for=condition=Ready", "node", "--all", "--timeout=" + patience.String()}},
		{"the platform is up", "kubectl", []string{"wait", "--for=condition=Available", "deployment", "--all", "--all-namespaces", "--timeout=" + patience.String()}},
		{"Chaos Mesh's daemon is up", "kubectl", []string{"rollout", "status", "daemonset", "--namespace=chaos-mesh", "chaos-daemon", "--timeout=" + patience.String()}},
		{"the metrics API answers", "kubectl", []string{"wait", "--for=condition=Available", "apiservice", "v1beta1.metrics.k8s.io", "--timeout=" + patience.String()}},
	})
}

func (p *places) do(ctx context.Context, show *steps, all []step) error {
	for _, s := range all {
		if _, err := p.tool(ctx, s.program, s.args...); err != nil {
			return err
		}
		show.say("%s", s.says)
	}
	return nil
}

func newInstallCommand() *cobra.Command {
	var p places
	cmd := &cobra.Command{
		Use: "install", Short: "install the system under trial and the verifier from their charts", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.resolve(); err != nil {
				return err
			}
			return system(cmd.Context(), &p, newSteps(cmd.OutOrStdout()))
		},
	}
	p.register(cmd)
	return cmd
}

// system installs our charts.
func system(ctx context.Context, p *places, show *steps) error {
	install := func(chart, namespace string) []string {
		return []string{"upgrade", "--install", chart, p.repo("deploy/charts", chart), "--namespace=" + namespace,
			"--values=" + p.repo("deploy/cluster/values", chart+".yaml"), "--wait", "--timeout=" + patience.String()}
	}
	if err := renewImages(ctx, p, show); err != nil {
		return err
	}
	err := p.do(ctx, show, []step{
		{"namespaces", "helm", []string{"upgrade", "--install", "namespaces", p.repo("deploy/charts/namespaces"), "--namespace=default"}},
		{"the system under trial is up", "helm", install("seatrial", "seatrial")},
		{"the verifier's janitor and reports are up", "helm", install("verifier", "seatrial-verifier")},
	})
	if err != nil {
		return err
	}
	// Whoever waits for a disk next is measured, and must not wait for gigabytes of images.
	unix.Sync()
	show.say("all of it is on disk")
	return nil
}

func newStatusCommand() *cobra.Command {
	var p places
	cmd := &cobra.Command{
		Use: "status", Short: "show every pod and the latest warnings", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.resolve(); err != nil {
				return err
			}
			if !running() {
				fmt.Fprintln(cmd.OutOrStdout(), "cluster: none is running")
				return nil
			}
			for _, args := range [][]string{
				{"get", "nodes,pods", "--all-namespaces", "--output=wide"},
				{"get", "events", "--all-namespaces", "--field-selector=type=Warning", "--sort-by=.lastTimestamp"},
			} {
				text, err := p.tool(cmd.Context(), "kubectl", args...)
				if err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), text)
			}
			return nil
		},
	}
	p.register(cmd)
	return cmd
}

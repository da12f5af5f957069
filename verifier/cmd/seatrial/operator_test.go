//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"seatrial/deploy/local"
	"seatrial/deploy/local/pod"
)

func TestAShellEndsWithTheFirstFailure(t *testing.T) {
	s := shell{dir: t.TempDir(), env: []string{"PLACE=here"}}
	out, err := s.Do(t.Context(), "echo $PLACE\nfalse | cat\n[ -n \"\" ]\necho never")
	if out != "here\n" || err == nil {
		t.Errorf("%q, %v", out, err)
	}
	if out, err = s.Do(t.Context(), "echo one; echo two >&2"); out != "one\ntwo\n" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}

func TestAShellEndsInTimeWithAllItsChildren(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	s := shell{dir: dir}
	_, err := s.Do(ctx, "(sleep 2; touch late) & sleep 100")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	time.Sleep(2500 * time.Millisecond)
	if _, err := os.Stat(filepath.Join(dir, "late")); err == nil {
		t.Error("a child went on after its time")
	}
}

func TestAShellSaysWhatItNeeds(t *testing.T) {
	for want, s := range map[string]shell{
		"":                      {needs: []string{"sh"}},
		"it needs no-such-tool": {needs: []string{"sh", "no-such-tool"}},
		"not here":              {not: "not here"},
	} {
		if err := s.Able(t.Context()); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestKubectlOfAShell: commands of runbooks name no cluster, and the flags do.
func TestKubectlOfAShell(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "kubectl"), []byte("#!/bin/sh\nfor a in \"$@\"; do echo \"<$a>\"; done\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	f := kubeFlags{namespace: "seatrial", kubeconfig: "a b's.yaml", context: "staging"}
	s, remove, err := f.kubectlShell()
	if err != nil {
		t.Fatal(err)
	}
	out, err := s.Do(t.Context(), "echo 'get pods' | xargs -r kubectl -n seatrial; pwd; command -v kubectl")
	here, _ := os.Getwd() // a kubeconfig may be named relative to it
	for _, want := range []string{"<--kubeconfig>\n<a b's.yaml>", "<--context>\n<staging>", "<-n>\n<seatrial>\n<get>\n<pods>", "\n" + here + "\n"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%q without %q (%v)", out, want, err)
		}
	}
	remove()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if _, err := os.Stat(lines[len(lines)-1]); !strings.HasPrefix(lines[len(lines)-1], os.TempDir()) || err == nil {
		t.Errorf("%s is left", lines[len(lines)-1])
	}
	f.context = ""
	if s, _, err = f.kubectlShell(); err != nil {
		t.Fatal(err)
	}
	out, err = s.Do(t.Context(), `echo "$KUBECONFIG"; command -v kubectl`)
	if want := "a b's.yaml\n" + filepath.Join(dir, "kubectl"); err != nil || strings.TrimSpace(out) != want {
		t.Errorf("without a context: %q, want %q and nothing that could be left (%v)", out, want, err)
	}
	f.namespace = "other"
	if s, remove, err = f.kubectlShell(); err != nil || s.Able(t.Context()) == nil {
		t.Errorf("commands for seatrial are said to be able on another namespace: %v", err)
	}
	remove()
}

// TestKubectlsOfKilledRunsGo: nobody else would remove them.
func TestKubectlsOfKilledRunsGo(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(os.TempDir(), fmt.Sprintf("%s%d-1", kubectlFolder, ended.Process.Pid))
	used := filepath.Join(os.TempDir(), fmt.Sprintf("%s%d-1", kubectlFolder, os.Getpid()))
	for _, dir := range []string{left, used} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	sweepKubectls()
	if _, err := os.Stat(left); err == nil {
		t.Errorf("%s is left", left)
	}
	if _, err := os.Stat(used); err != nil {
		t.Errorf("a run that goes on has lost its kubectl: %v", err)
	}
}

func TestChosen(t *testing.T) {
	s := statusOf("worker-0 up", "worker-1 down", "nats-0 up")
	for _, c := range []struct {
		names, app string
		down       bool
		want, err  string
	}{
		{"worker-0 nats-0", "", false, "worker-0 nats-0", ""},
		{"", "worker", false, "worker-0 worker-1", ""},
		{"", "worker", true, "worker-1", ""},
		{"", "nats", true, "", ""},
		{"worker-9", "", false, "", "no pod is called"},
		{"", "wroker", false, "", "no pod belongs to an app called"},
		{"", "", false, "", "want the names of pods, or --app APP"},
		{"worker-0", "nats", false, "", "want the names of pods, or --app APP"},
	} {
		pods, err := chosen(s, strings.Fields(c.names), c.app, c.down)
		if strings.Join(pods, " ") != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%+v: %q, %v", c, pods, err)
		}
	}
}

// statusOf is a testbed with pods that are "NAME up" or "NAME down".
func statusOf(pods ...string) *status {
	var s status
	for _, p := range pods {
		name, state, _ := strings.Cut(p, " ")
		app, _, _ := strings.Cut(name, "-")
		s.Pods = append(s.Pods, local.PodStatus{
			Name: name, App: app, Containers: []pod.ContainerStatus{{Name: app, Running: state == "up"}},
		})
	}
	return &s
}

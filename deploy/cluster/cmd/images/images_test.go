package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"seatrial/deploy/cluster/image"
)

func everything(deps, bin string) (all []image.Spec) {
	for _, a := range archives(deps, bin) {
		all = append(all, a.images...)
	}
	return all
}

// What the charts, the manifests and the node name must be there, under these names.
func TestEveryImageIsWritten(t *testing.T) {
	want := strings.Fields(`alertmanager api chaos-daemon chaos-mesh coredns kube-network-policies loadgen metrics-server nats nats-exporter
		pause prometheus prometheus-config-reloader prometheus-operator seatrial valkey valkey-exporter worker`)
	var got []string
	for _, s := range everything("deps", "bin") {
		got = append(got, strings.TrimSuffix(strings.TrimPrefix(s.Name, "seatrial/"), ":dev"))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("images are written for\n%v, want\n%v", got, want)
	}
}

func TestOnlyWhoMustIsRoot(t *testing.T) {
	roots := []string{"seatrial/chaos-daemon:dev", "seatrial/chaos-mesh:dev", "seatrial/kube-network-policies:dev"}
	for _, s := range everything("deps", "bin") {
		if root := s.User == ""; root != slices.Contains(roots, s.Name) {
			t.Errorf("%s runs as %q", s.Name, s.User)
		}
	}
}

// The entry point must be among the image's own files, or in the Debian root.
func TestEntryPointsAreThere(t *testing.T) {
	for _, s := range everything("deps", "bin") {
		there := s.Entrypoint[0] == "/bin/sh" && s.Layers[0][0].Path == "/"
		for _, f := range slices.Concat(s.Layers...) {
			there = there || f.Path == s.Entrypoint[0]
		}
		if !there || len(s.Entrypoint) != 1 {
			t.Errorf("%s starts %q, which is none of its files", s.Name, s.Entrypoint)
		}
	}
}

// fake makes a file for everything that the images are made of.
func fake(t *testing.T) (deps, bin string) {
	t.Helper()
	deps, bin = t.TempDir(), t.TempDir()
	root := filepath.Join(deps, "cluster", "root")
	files := []string{filepath.Join(root, "bin", "sh")}
	for _, s := range everything(deps, bin) {
		for _, f := range slices.Concat(s.Layers...) {
			if f.From != "" && f.From != root {
				files = append(files, f.From)
			}
		}
	}
	for _, f := range files {
		if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, []byte(f), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return deps, bin
}

func TestArchivesAreWrittenOnce(t *testing.T) {
	deps, bin := fake(t)
	said := func() string {
		t.Helper()
		var out bytes.Buffer
		if err := run(deps, bin, &out); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	if first := said(); strings.Count(first, "written") != 3 {
		t.Errorf("at first: %q", first)
	}
	if again := said(); strings.Count(again, "is there") != 3 {
		t.Errorf("with nothing changed: %q", again)
	}
	if err := os.WriteFile(filepath.Join(bin, "api"), []byte("another"), 0o755); err != nil {
		t.Fatal(err)
	}
	if changed := said(); !strings.Contains(changed, "system: 6 written") || strings.Count(changed, "is there") != 2 {
		t.Errorf("with another api: %q", changed)
	}
	if err := os.Remove(filepath.Join(deps, "cluster", "images", "debian.tar")); err != nil {
		t.Fatal(err)
	}
	if lost := said(); !strings.Contains(lost, "debian: 3 written") {
		t.Errorf("with an archive lost: %q", lost)
	}
}

func TestWhatIsMissingIsNamed(t *testing.T) {
	for _, path := range []string{"bin/worker", "deps/bin/nats-server", "deps/cluster/bin/nsexec", "deps/cluster/root"} {
		deps, bin := fake(t)
		where, rest, _ := strings.Cut(path, "/")
		if err := os.RemoveAll(filepath.Join(map[string]string{"bin": bin, "deps": deps}[where], rest)); err != nil {
			t.Fatal(err)
		}
		err := run(deps, bin, &bytes.Buffer{})
		if err == nil || !strings.Contains(err.Error(), rest) || !strings.Contains(err.Error(), "make cluster-deps") {
			t.Errorf("without %s: %v", path, fmt.Sprint(err))
		}
	}
}

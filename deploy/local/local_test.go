//go:build linux

package local

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"sigs.k8s.io/yaml"
)

// programsIn makes a folder with an executable for each program.
func programsIn(t *testing.T, dir string) {
	t.Helper()
	for _, name := range programNames() {
		script(t, filepath.Join(dir, name), "echo "+name+" v1.2.3")
	}
}

func script(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestValidateNamesEveryMistake(t *testing.T) {
	dir := t.TempDir()
	programsIn(t, filepath.Join(dir, "bin"))
	plain := filepath.Join(dir, "plain.txt")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		config Config
		want   []string // substrings of the error, none for no error
	}{
		"whole":   {Config{Bin: dir + "/bin", Deps: dir}, nil},
		"swapped": {Config{Bin: dir + "/bin", Deps: dir, Binaries: map[string]string{"nats-server": dir + "/bin/api"}}, nil},
		"nothing there": {Config{Bin: dir + "/none", Deps: dir + "/none"},
			[]string{"valkey-server is not at " + dir + "/none/bin/valkey-server: run `make deps build`", "api is not at " + dir + "/none/api"}},
		"unknown name": {Config{Bin: dir + "/bin", Deps: dir, Binaries: map[string]string{"redis": "/bin/true"}},
			[]string{"--binary redis=/bin/true: the testbed runs no program of that name; it runs alertmanager, api"}},
		"a folder": {Config{Bin: dir + "/bin", Deps: dir, Binaries: map[string]string{"api": dir}}, []string{"api is not at " + dir + ":"}},
		"no program": {Config{Bin: dir + "/bin", Deps: dir, Binaries: map[string]string{"api": plain}},
			[]string{"api is not at " + plain}},
	} {
		err := c.config.Validate()
		if (err == nil) != (c.want == nil) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q is not in: %v", name, want, err)
			}
		}
	}
}

func TestVersionIn(t *testing.T) {
	for line, want := range map[string]string{
		"nats-server: v2.15.2": "2.15.2",
		"Valkey server v=8.0.1 sha=00000000:0 malloc=jemalloc-5.3.0": "8.0.1",
		"prometheus, version 0.315.0 (branch: , revision: unknown)":  "0.315.0",
		"api v1.4.0-3-gabcdef-dirty go1.26.0":                        "1.4.0-3-gabcdef-dirty",
		"api dev go1.26.0":                                           "dev",
		"worker version dev":                                         "dev",
		"something (unknown)":                                        "unknown",
		"":                                                           "unknown",
	} {
		if got := versionIn(line); got != want {
			t.Errorf("versionIn(%q) = %q, want %q", line, got, want)
		}
	}
}

// TestAskVersions: the programs say it themselves, and one that will not is named.
func TestAskVersions(t *testing.T) {
	dir := t.TempDir()
	programsIn(t, filepath.Join(dir, "bin"))
	bed := &Testbed{cfg: Config{Bin: dir + "/bin", Deps: dir, State: dir}}
	versions, err := bed.askVersions(t.Context())
	if err != nil || versions["nats-server"] != "1.2.3" || len(versions) != len(versionFlags) {
		t.Errorf("versions %v, %v", versions, err)
	}
	script(t, filepath.Join(dir, "odd"), "echo cannot do that >&2; exit 4")
	bed.cfg.Binaries = map[string]string{"prometheus": dir + "/odd"}
	if _, err := bed.askVersions(t.Context()); err == nil || !strings.Contains(err.Error(), dir+"/odd --version: exit status 4: cannot do that") {
		t.Errorf("a program without a version: %v", err)
	}
	script(t, filepath.Join(dir, "odd"), "exec sleep 60")
	soon, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := bed.askVersions(soon); err == nil || !strings.Contains(err.Error(), " --version does not end: context deadline exceeded") {
		t.Errorf("a program that does not end: %v", err)
	}
}

func TestInfoField(t *testing.T) {
	const info = "# Replication\r\nrole:master\r\nconnected_slaves:2\r\nmaster_replid:1234\r\n"
	for key, want := range map[string]string{"role": "master", "connected_slaves": "2", "master": "", "slaves": ""} {
		if got := infoField(info, key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
}

// TestPlan: what every pod of the system must have.
func TestPlan(t *testing.T) {
	bed := &Testbed{cfg: Config{Bin: "/bin", Deps: "/deps", State: "/state"}}
	block := netip.MustParsePrefix("198.18.0.0/15")
	names, addrs := map[string]bool{}, map[netip.Addr]bool{nodeAddr: true, apiVIP.Addr(): true}
	for _, p := range bed.plan() {
		if names[p.Name] || addrs[p.Addr] {
			t.Errorf("pod %s %v: name or address is taken", p.Name, p.Addr)
		}
		names[p.Name], addrs[p.Addr] = true, true
		if !block.Contains(p.Addr) {
			t.Errorf("pod %s has the address %v, outside of %v", p.Name, p.Addr, block)
		}
		if p.Labels["app"] == "" || !strings.HasPrefix(p.Name, p.Labels["app"]+"-") || p.Ready == nil {
			t.Errorf("pod %s: labels %v, readiness asked: %v", p.Name, p.Labels, p.Ready != nil)
		}
		for _, c := range p.Containers {
			if !c.Restart || !filepath.IsAbs(c.Command[0]) {
				t.Errorf("container %s/%s: restart %v, command %q", p.Name, c.Name, c.Restart, c.Command)
			}
		}
	}
	if len(names) != 13 {
		t.Errorf("%d pods, want 13", len(names))
	}
}

// TestPrometheusConfig scrapes every pod that has metrics, under its name.
func TestPrometheusConfig(t *testing.T) {
	bed := &Testbed{cfg: Config{State: "/state"}}
	var config struct {
		Scrapes []struct {
			Job     string `json:"job_name"`
			Statics []struct {
				Targets []string          `json:"targets"`
				Labels  map[string]string `json:"labels"`
			} `json:"static_configs"`
		} `json:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(bed.prometheusConfig()), &config); err != nil {
		t.Fatal(err)
	}
	pods := map[string]string{} // name -> address
	for _, p := range bed.plan() {
		pods[p.Name] = p.Addr.String()
	}
	jobs := map[string]int{}
	for _, s := range config.Scrapes {
		for _, static := range s.Statics {
			jobs[s.Job]++
			pod := static.Labels["pod"]
			host, _, _ := strings.Cut(static.Targets[0], ":")
			if pods[pod] != host || static.Labels["namespace"] != Namespace {
				t.Errorf("job %s scrapes %s as %v; the pod has %q", s.Job, static.Targets[0], static.Labels, pods[pod])
			}
		}
	}
	for job, want := range map[string]int{"api": 2, "worker": 2, "nats": 3, "valkey": 3, "loadgen": 1} {
		if jobs[job] != want {
			t.Errorf("job %s has %d targets, want %d", job, jobs[job], want)
		}
	}
}

func TestRoomFor(t *testing.T) {
	if err := roomFor(filepath.Join(t.TempDir(), "missing")); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("a folder that is not there: %v", err)
	}
	if os.Geteuid() != 0 {
		t.Skip("a small file system needs root")
	}
	for size, fits := range map[string]bool{"size=1m": false, "size=300m": true} {
		dir := t.TempDir()
		err := errors.New("not asked")
		inOwnMounts(func() {
			if mountErr := unix.Mount("none", dir, "tmpfs", 0, size); mountErr != nil {
				t.Errorf("mount a small file system: %v", mountErr)
				return
			}
			err = roomFor(dir)
		})
		if (err == nil) != fits || err != nil && !strings.Contains(err.Error(), dir+" has 1 MiB free, and 256 MiB are needed") {
			t.Errorf("%s: %v", size, err)
		}
	}
}

// inOwnMounts calls f on a thread with mounts of its own, which end with it.
func inOwnMounts(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() { // the main thread never ends
			inOwnMounts(f)
			runtime.UnlockOSThread()
			return
		}
		if unix.Unshare(unix.CLONE_NEWNS) != nil || unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, "") != nil {
			return
		}
		f()
	}()
	<-done
}

// TestCopyLog: each trial gets what was logged since the one before, and no
// more than the end of a flood.
func TestCopyLog(t *testing.T) {
	dir := t.TempDir()
	log, copied := filepath.Join(dir, "log"), filepath.Join(dir, "copy")
	bed := &Testbed{logged: map[string]int64{}}
	write := func(text string) {
		t.Helper()
		f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	next := func() string {
		t.Helper()
		_ = os.Remove(copied)
		if err := bed.copyLog(log, copied); err != nil {
			t.Fatal(err)
		}
		data, _ := os.ReadFile(copied)
		return string(data)
	}
	write("first\n")
	if got := next(); got != "first\n" {
		t.Errorf("the first trial got %q", got)
	}
	if got := next(); got != "" {
		t.Errorf("nothing was logged, and %q was copied", got)
	}
	write("third\n")
	if got := next(); got != "third\n" {
		t.Errorf("the third trial got %q", got)
	}
	write(strings.Repeat("flood\n", maxLog/3) + "end\n")
	if got := next(); len(got) != maxLog || !strings.HasSuffix(got, "flood\nend\n") {
		t.Errorf("of a flood %d bytes were copied, ending in %q", len(got), got[max(0, len(got)-20):])
	}
}

func TestDownOfATestbedThatNeverWas(t *testing.T) {
	bed := &Testbed{stopReadiness: func() {}}
	done := make(chan struct{})
	go func() { bed.Down(); close(done) }()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("Down hangs")
	}
}

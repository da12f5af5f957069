package check

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// standIn is a program that writes down how it was called, and answers what the environment says.
const standIn = `#!/bin/sh
name=${0##*/}
echo "$name $*" >>"$CALLS"
case "$name $*" in
"docker info") exit "${DOCKER_INFO:-0}" ;;
"kind version -q") echo "${KIND_VERSION:-0.30.0}" ;;
"kind get clusters") echo "${KIND_CLUSTERS:-}" ;;
"kubectl "*"create secret "*) echo "kind: Secret" ;;
"kubectl "*" -f -") cat >/dev/null ;;
esac
`

// stage is a machine on which the only programs are stand-ins and what scripts are made of.
type stage struct {
	path, calls string
	env         []string
}

func newStage(t *testing.T, programs ...string) stage {
	t.Helper()
	dir := t.TempDir()
	s := stage{path: filepath.Join(dir, "bin"), calls: filepath.Join(dir, "calls")}
	if err := os.Mkdir(s.path, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"sh", "dirname", "cat", "grep", "sort"} {
		real, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(real, filepath.Join(s.path, tool)); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range programs {
		if err := os.WriteFile(filepath.Join(s.path, p), []byte(standIn), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// run runs a script of this repository and returns its exit code, what it says and what it called.
func (s stage) run(t *testing.T, script string, args ...string) (code int, said string, calls []string) {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(root, script))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", append([]string{path}, args...)...)
	cmd.Env = append([]string{"PATH=" + s.path, "CALLS=" + s.calls}, s.env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		if _, exited := err.(*exec.ExitError); !exited {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(s.calls)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), strings.Split(strings.TrimSpace(string(data)), "\n")
}

var (
	kindPrograms = []string{"docker", "kind", "helm", "kubectl"}
	sources      = []string{"CHAOS_MESH_CHARTS=https://charts.example.org/chaos", "PROMETHEUS_CHARTS=oci://registry.example.org/charts/", "METRICS_SERVER_CHARTS=https://charts.example.org/metrics"}
)

// TestKindSaysWhatIsMissing: before it changes anything.
func TestKindSaysWhatIsMissing(t *testing.T) {
	for _, missing := range kindPrograms {
		s := newStage(t, slices.DeleteFunc(slices.Clone(kindPrograms), func(p string) bool { return p == missing })...)
		s.env = sources
		refused(t, s, "no "+missing+" on the PATH")
	}
	for i, source := range sources {
		s := newStage(t, kindPrograms...)
		s.env = slices.Delete(slices.Clone(sources), i, i+1)
		name, _, _ := strings.Cut(source, "=")
		refused(t, s, "set "+name)
	}
	s := newStage(t, kindPrograms...)
	s.env = append([]string{"DOCKER_INFO=1"}, sources...)
	refused(t, s, "its engine does not answer")
	s = newStage(t, kindPrograms...)
	s.env = append([]string{"KIND_VERSION=0.9.0"}, sources...)
	refused(t, s, "kind is 0.9.0, want 0.27.0 or later")
}

func refused(t *testing.T, s stage, want string) {
	t.Helper()
	code, said, calls := s.run(t, "deploy/kind/up.sh")
	if code != 2 || !strings.Contains(said, want) {
		t.Errorf("exit %d with %q, want 2 with %q", code, said, want)
	}
	for _, c := range calls {
		if c != "" && c != "docker info" && c != "kind version -q" {
			t.Errorf("%q, though it must refuse: %s", c, want)
		}
	}
}

// TestKindUp: the calls, in their order, by which a cluster comes up.
func TestKindUp(t *testing.T) {
	s := newStage(t, kindPrograms...)
	s.env = sources
	code, said, calls := s.run(t, "deploy/kind/up.sh")
	if code != 0 || !strings.Contains(said, "bin/seatrial run --target kubernetes --context kind-seatrial") {
		t.Fatalf("exit %d: %s", code, said)
	}
	inOrder(t, calls,
		"kind create cluster --config ",
		"docker build -f deploy/images/service.Dockerfile",
		"kind load docker-image --name seatrial ",
		"kubectl --context kind-seatrial apply --server-side -f ",
		"helm --kube-context kind-seatrial upgrade --install metrics-server metrics-server --repo https://charts.example.org/metrics --version ",
		"kubectl --context kind-seatrial create secret generic alertmanager-seatrial --namespace monitoring",
		"helm --kube-context kind-seatrial upgrade --install prometheus oci://registry.example.org/charts/kube-prometheus-stack --version ",
		"helm --kube-context kind-seatrial upgrade --install chaos-mesh chaos-mesh --repo https://charts.example.org/chaos --version 2.8.4 --namespace chaos-mesh ",
		"helm --kube-context kind-seatrial upgrade --install namespaces deploy/charts/namespaces --namespace default",
		"helm --kube-context kind-seatrial upgrade --install seatrial deploy/charts/seatrial --namespace seatrial --values ",
		"helm --kube-context kind-seatrial upgrade --install verifier deploy/charts/verifier --namespace seatrial-verifier --values ",
	)
	var built, loads []string
	for _, c := range calls {
		words := strings.Fields(c)
		if i := slices.Index(words, "-t"); strings.HasPrefix(c, "docker build") && i > 0 {
			built = append(built, words[i+1])
		}
		if strings.HasPrefix(c, "kind load docker-image") {
			loads = words[5:]
		}
	}
	slices.Sort(built)
	slices.Sort(loads)
	if len(built) == 0 || !slices.Equal(built, loads) {
		t.Errorf("built %v, loaded %v", built, loads)
	}
}

// inOrder wants calls that begin so, each after the one before, and files that they name to be there.
func inOrder(t *testing.T, calls []string, want ...string) {
	t.Helper()
	at := 0
	for _, w := range want {
		i := slices.IndexFunc(calls[at:], func(c string) bool { return strings.HasPrefix(c, w) })
		if i < 0 {
			t.Fatalf("no call %q after\n%s\nin\n%s", w, strings.Join(calls[:at], "\n"), strings.Join(calls, "\n"))
		}
		at += i + 1
	}
	for _, c := range calls {
		for _, word := range strings.Fields(c) {
			_, file, _ := strings.Cut(word, "alertmanager.yaml=")
			if file == "" {
				file = word
			}
			if strings.HasSuffix(file, ".yaml") && filepath.IsAbs(file) {
				if _, err := os.Stat(file); err != nil {
					t.Errorf("%s: %v", c, err)
				}
			}
		}
	}
}

// TestKindUpAgain: a cluster that is there is kept.
func TestKindUpAgain(t *testing.T) {
	s := newStage(t, kindPrograms...)
	s.env = append([]string{"KIND_CLUSTERS=seatrial"}, sources...)
	code, said, calls := s.run(t, "deploy/kind/up.sh")
	if code != 0 || slices.ContainsFunc(calls, func(c string) bool { return strings.HasPrefix(c, "kind create") }) {
		t.Errorf("exit %d, %s\n%s", code, said, strings.Join(calls, "\n"))
	}
}

// TestKindDown takes away the cluster that up made.
func TestKindDown(t *testing.T) {
	s := newStage(t, "kind")
	if code, said, calls := s.run(t, "deploy/kind/down.sh"); code != 0 || !slices.Equal(calls, []string{"kind delete cluster --name seatrial"}) {
		t.Errorf("exit %d, %s: %v", code, said, calls)
	}
	if code, said, _ := newStage(t).run(t, "deploy/kind/down.sh"); code != 2 || !strings.Contains(said, "no kind on the PATH") {
		t.Errorf("exit %d, %s", code, said)
	}
}

// TestPlatformSources: a chart comes from a repository, a registry, a folder or an archive.
func TestPlatformSources(t *testing.T) {
	folder := t.TempDir()
	for file, text := range map[string]string{"plain/chaos-mesh/Chart.yaml": "name: chaos-mesh", "packed/chaos-mesh-2.8.4.tgz": "x", "empty/none": ""} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(folder, file)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ source, want string }{
		{"https://charts.example.org", "helm upgrade --install chaos-mesh chaos-mesh --repo https://charts.example.org --version 2.8.4 --namespace chaos-mesh --values "},
		{"oci://registry.example.org/x", "helm upgrade --install chaos-mesh oci://registry.example.org/x/chaos-mesh --version 2.8.4 "},
		{folder + "/plain", "helm upgrade --install chaos-mesh " + folder + "/plain/chaos-mesh --namespace "},
		{folder + "/packed", "helm upgrade --install chaos-mesh " + folder + "/packed/chaos-mesh-2.8.4.tgz --namespace "},
	} {
		s := newStage(t, "helm", "kubectl")
		s.env = []string{"CHAOS_MESH_CHARTS=" + c.source}
		code, said, calls := s.run(t, "deploy/platform/install.sh", "chaos-mesh")
		if code != 0 {
			t.Errorf("%s: exit %d, %s", c.source, code, said)
		}
		inOrder(t, calls, "kubectl apply --server-side -f ", c.want)
	}
	s := newStage(t, "helm", "kubectl")
	s.env = []string{"CHAOS_MESH_CHARTS=" + folder + "/empty"}
	if code, said, calls := s.run(t, "deploy/platform/install.sh", "chaos-mesh"); code != 2 || !strings.Contains(said, "has neither chaos-mesh-2.8.4.tgz nor chaos-mesh/Chart.yaml") {
		t.Errorf("exit %d, %s: %v", code, said, calls)
	}
}

// TestPlatformRefuses: whatever is wrong is said before anything is changed.
func TestPlatformRefuses(t *testing.T) {
	for _, c := range []struct {
		want     string
		programs []string
		args     []string
	}{
		{"usage: install.sh", []string{"helm", "kubectl"}, nil},
		{"--context wants a name", []string{"helm", "kubectl"}, []string{"--context"}},
		{"no helm on the PATH", []string{"kubectl"}, []string{"chaos-mesh"}},
		{"no kubectl on the PATH", []string{"helm"}, []string{"chaos-mesh"}},
		{"chaos-mesh: set CHAOS_MESH_CHARTS", []string{"helm", "kubectl"}, []string{"--context", "x", "chaos-mesh"}},
		{"no part is called chaosmesh", []string{"helm", "kubectl"}, []string{"metrics-server", "chaosmesh"}},
	} {
		s := newStage(t, c.programs...)
		s.env = []string{"METRICS_SERVER_CHARTS=https://charts.example.org"}
		code, said, calls := s.run(t, "deploy/platform/install.sh", c.args...)
		if code != 2 || !strings.Contains(said, c.want) || !slices.Equal(calls, []string{""}) {
			t.Errorf("%v: exit %d with %q and calls %v, want 2 with %q and none", c.args, code, said, calls, c.want)
		}
	}
}

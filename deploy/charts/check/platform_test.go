package check

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"sigs.k8s.io/yaml"
)

const platformFolder = "../../platform"

func metricsServerChart(t testing.TB) string {
	return filepath.Join(moduleOf(t, "deploy/cluster/modules/metrics-server", "sigs.k8s.io/metrics-server"), "charts", "metrics-server")
}

// TestNoValueIsMisspelt: Helm ignores a value that a chart does not know.
func TestNoValueIsMisspelt(t *testing.T) {
	for file, chart := range map[string]string{
		filepath.Join(platformFolder, "chaos-mesh.yaml"):          chaosMeshChart(t),
		filepath.Join(platformFolder, "metrics-server.yaml"):      metricsServerChart(t),
		filepath.Join(clusterFolder, "values", "chaos-mesh.yaml"): chaosMeshChart(t),
	} {
		unknown, err := UnknownValues(chart, read(t, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range unknown {
			t.Errorf("%s: the chart has no value %s", file, v)
		}
	}
	broken := strings.Replace(string(read(t, filepath.Join(platformFolder, "chaos-mesh.yaml"))), "socketPath", "socket", 1)
	if unknown, err := UnknownValues(chaosMeshChart(t), []byte(broken)); err != nil || !slices.Equal(unknown, []string{"chaosDaemon.socket"}) {
		t.Errorf("a misspelt socketPath is found as %v, %v", unknown, err)
	}
}

// TestPrometheusValues: the chart is not at hand, but what our rules and monitors hang on is there.
func TestPrometheusValues(t *testing.T) {
	var v struct {
		Prometheus struct {
			Spec struct {
				Monitors bool                     `json:"serviceMonitorSelectorNilUsesHelmValues"`
				Rules    bool                     `json:"ruleSelectorNilUsesHelmValues"`
				Clear    bool                     `json:"prometheusExternalLabelNameClear"`
				Replica  bool                     `json:"replicaExternalLabelNameClear"`
				Classes  []monitoring.ScrapeClass `json:"scrapeClasses"`
			} `json:"prometheusSpec"`
		} `json:"prometheus"`
		Alertmanager struct {
			Spec struct {
				Existing bool   `json:"useExistingSecret"`
				Secret   string `json:"configSecret"`
			} `json:"alertmanagerSpec"`
		} `json:"alertmanager"`
	}
	v.Prometheus.Spec.Monitors, v.Prometheus.Spec.Rules = true, true // the chart's own
	if err := yaml.Unmarshal(read(t, filepath.Join(platformFolder, "prometheus.yaml")), &v); err != nil {
		t.Fatal(err)
	}
	if p := v.Prometheus.Spec; p.Monitors || p.Rules || !p.Clear || !p.Replica {
		t.Errorf("Prometheus would miss our monitors or rules, or label our alerts: %+v", p)
	}
	if c := v.Prometheus.Spec.Classes; len(c) != 1 || c[0].Default == nil || !*c[0].Default || len(c[0].Relabelings) != 1 || c[0].Relabelings[0].TargetLabel != "instance" {
		t.Errorf("series would end with their pod's address: %+v", c)
	}
	if a := v.Alertmanager.Spec; !a.Existing || a.Secret != "alertmanager-seatrial" {
		t.Errorf("Alertmanager does not read the Secret that install.sh makes: %+v", a)
	}
}

// TestChaosMesh: with the values for any cluster and for the air-gapped one its chart decodes
// strictly, finds containerd, and brings neither dashboard nor DNS server.
func TestChaosMesh(t *testing.T) {
	for _, file := range []string{filepath.Join(platformFolder, "chaos-mesh.yaml"), filepath.Join(clusterFolder, "values", "chaos-mesh.yaml")} {
		s := decoded(t, releasedText(t, chaosMeshChart(t), "chaos-mesh", "chaos-mesh", file))
		daemon := named(t, Of[*apps.DaemonSet](s), "chaos-daemon").Spec.Template.Spec
		words := strings.Join(daemon.Containers[0].Command, " ")
		for _, want := range []string{"--runtime containerd", "--runtime-socket-path /host-run/containerd.sock"} {
			if !strings.Contains(words, want) {
				t.Errorf("%s: chaos-daemon is not started with %q: %s", file, want, words)
			}
		}
		if i := slices.IndexFunc(daemon.Volumes, func(v core.Volume) bool { return v.Name == "socket-path" }); i < 0 || daemon.Volumes[i].HostPath.Path != "/run/containerd" {
			t.Errorf("%s: chaos-daemon does not see /run/containerd: %v", file, daemon.Volumes)
		}
		if all := Of[*apps.Deployment](s); len(all) != 1 || *all[0].Spec.Replicas != 1 {
			t.Errorf("%s: want one Deployment, the controller, of one pod; have %d", file, len(all))
		}
		if !slices.ContainsFunc(Of[*core.Secret](s), func(c *core.Secret) bool { return c.Name == "chaos-mesh-webhook-certs" && len(c.Data["tls.crt"]) > 0 }) {
			t.Errorf("%s: the webhooks have no certificate", file)
		}
	}
}

// TestPauseImage: on the cluster pod-failure puts an image into containers' places that is there.
func TestPauseImage(t *testing.T) {
	s := decoded(t, releasedText(t, chaosMeshChart(t), "chaos-mesh", "chaos-mesh", filepath.Join(clusterFolder, "values", "chaos-mesh.yaml")))
	env := deployment(t, s, "chaos-controller-manager").Spec.Template.Spec.Containers[0].Env
	i := slices.IndexFunc(env, func(e core.EnvVar) bool { return e.Name == "POD_FAILURE_PAUSE_IMAGE" })
	if i < 0 || !slices.Contains(loaded, env[i].Value) {
		t.Errorf("the image for pod-failure is none of the cluster's: %v", env)
	}
}

// TestMetricsServer: its chart decodes strictly with our values, and trusts kind's kubelets.
func TestMetricsServer(t *testing.T) {
	text, services, err := SplitAPIServices(releasedText(t, metricsServerChart(t), "metrics-server", "kube-system", filepath.Join(platformFolder, "metrics-server.yaml")))
	if err != nil || len(services) != 1 {
		t.Fatalf("%d APIServices, %v", len(services), err)
	}
	if args := deployment(t, decoded(t, text), "metrics-server").Spec.Template.Spec.Containers[0].Args; !slices.Contains(args, "--kubelet-insecure-tls") {
		t.Errorf("metrics-server would refuse kind's kubelets: %v", args)
	}
}

// TestKindValues: our charts with kind's values pass the checks that hold for them everywhere.
func TestKindValues(t *testing.T) {
	for _, chart := range []string{"seatrial", "verifier"} {
		text, err := Render(filepath.Join("..", chart), read(t, filepath.Join("../../kind", chart+".yaml")))
		if err != nil {
			t.Fatal(err)
		}
		s := decoded(t, text)
		if len(s.Pods()) == 0 {
			t.Fatalf("chart %s renders no pods", chart)
		}
		for _, problem := range slices.Concat(Security(s), Loaded(s, loaded)) {
			t.Errorf("%s: %s", chart, problem)
		}
	}
}

// TestPinnedVersions: what README.md tells and what install.sh does are the same versions, and
// Chaos Mesh's is one that the verifier accepts.
func TestPinnedVersions(t *testing.T) {
	script := string(read(t, filepath.Join(platformFolder, "install.sh")))
	pins := map[string]string{}
	for _, m := range regexp.MustCompile(`install \S+ (\S+) (\d+\.\d+\.\d+) `).FindAllStringSubmatch(script, -1) {
		pins[m[1]] = m[2]
	}
	if len(pins) != 3 {
		t.Fatalf("install.sh pins %v", pins)
	}
	if v := version.MustParseSemantic(pins["chaos-mesh"]); v.LessThan(version.MustParseSemantic("2.8.3")) {
		t.Errorf("Chaos Mesh %s is older than 2.8.3", v)
	}
	readme := string(read(t, filepath.Join(platformFolder, "README.md")))
	for chart, pin := range pins {
		for _, want := range []string{"| `" + chart + "` | " + pin, " " + chart + " --repo "} {
			if !strings.Contains(readme, want) {
				t.Errorf("README.md has no %q", want)
			}
		}
		if !strings.Contains(readme, "--version "+pin) {
			t.Errorf("README.md does not install %s %s", chart, pin)
		}
	}
}

package check

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	core "k8s.io/api/core/v1"
	network "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write testdata/golden anew")

const root = "../../.."

var charts = []string{"api", "worker", "loadgen", "nats", "valkey", "seatrial", "namespaces", "verifier"}

// rendered renders a chart with its own values, or with those of testdata.
func rendered(t testing.TB, chart string, alternative bool) Text {
	t.Helper()
	var values []byte
	if alternative {
		var err error
		if values, err = os.ReadFile(filepath.Join("testdata", "values", chart+".yaml")); err != nil {
			t.Fatal(err)
		}
	}
	text, err := Render(filepath.Join("..", chart), values)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func system(t testing.TB, alternative bool) System {
	t.Helper()
	s, err := Decode(rendered(t, "seatrial", alternative))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// checks are those that need the whole system; some of them hold for a chart alone too.
var checks = []struct {
	name  string
	alone bool
	run   func(System) []string
}{
	{"security", true, Security},
	{"hardening", true, Hardening},
	{"probes", true, Probes},
	{"rollouts", true, Rollouts},
	{"services", true, Services},
	{"budgets", true, Budgets},
	{"autoscalers", true, Autoscalers},
	{"addresses", false, Addresses},
	{"scripts", false, func(s System) []string { return Scripts(s, root) }},
	{"alerts", false, func(s System) []string { return Alerts(s, root) }},
	{"victims", false, func(s System) []string { return Victims(s, manifests) }},
	{"settings", true, func(s System) []string { return Settings(s, root) }},
	{"flows", false, wrongFlows},
}

var manifests = func() []Manifest {
	all, err := Experiments(root + "/experiments")
	if err != nil {
		panic(err)
	}
	return all
}()

// TestCharts renders every chart with its own and with other values, and runs every check.
func TestCharts(t *testing.T) {
	for _, chart := range charts {
		for _, set := range []string{"default", "alternative"} {
			t.Run(chart+"/"+set, func(t *testing.T) {
				text := rendered(t, chart, set == "alternative")
				s, err := Decode(text)
				if err != nil {
					t.Fatal(err)
				}
				if len(s) == 0 {
					t.Fatal("the chart renders nothing")
				}
				for _, c := range checks {
					if !c.alone && chart != "seatrial" {
						continue
					}
					for _, problem := range c.run(s) {
						t.Errorf("%s: %s", c.name, problem)
					}
				}
				golden(t, filepath.Join("testdata", "golden", chart+"."+set+".yaml"), text.Golden())
			})
		}
	}
}

func golden(t *testing.T, file, have string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(have), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if line, differs := firstDifference(string(want), have); differs {
		t.Errorf("%s differs from what is rendered, first in line %s\nlook at it, then: cd deploy/charts/check && go test ./... -update", file, line)
	}
}

// TestRulesAreChosen: trials unless production is asked for.
func TestRulesAreChosen(t *testing.T) {
	for values, name := range map[string]string{"": "seatrial", "rules: trial": "seatrial", "rules: production": "production"} {
		text, err := Render(filepath.Join("..", "seatrial"), []byte(values))
		if err != nil {
			t.Fatal(err)
		}
		s, err := Decode(text)
		if err != nil {
			t.Fatal(err)
		}
		want, err := ruleFile(root, name)
		if err != nil {
			t.Fatal(err)
		}
		have := Of[*monitoring.PrometheusRule](s)
		if len(have) != 1 || !reflect.DeepEqual(have[0].Spec, want) {
			t.Errorf("values %q: the PrometheusRule is not deploy/rules/%s.rules.yaml", values, name)
		}
	}
}

// TestRunbooksHaveAnAddress: a pager cannot open a path in a repository. Unless an address is given the rules are
// those of deploy/rules to the letter.
func TestRunbooksHaveAnAddress(t *testing.T) {
	for values, address := range map[string]string{
		"": "", `runbooksURL: ""`: "",
		"runbooksURL: https://git.example.com/blob/main":    "https://git.example.com/blob/main/",
		"runbooksURL: http://wiki.example.com:8080/trials/": "http://wiki.example.com:8080/trials/",
	} {
		text, err := Render(filepath.Join("..", "seatrial"), []byte(values))
		if err != nil {
			t.Fatal(err)
		}
		file := string(read(t, filepath.Join(root, "deploy", "rules", "seatrial.rules.yaml")))
		links := strings.Count(file, "runbook_url: runbooks/")
		want := strings.ReplaceAll(file, "runbook_url: runbooks/", "runbook_url: "+address+"runbooks/")
		want = strings.ReplaceAll("\n"+want, "\n", "\n  ")
		if have := text["seatrial/templates/rules.yaml"]; links == 0 || !strings.Contains(have, strings.TrimRight(want, " \n")) {
			t.Errorf("values %q: the rules are not seatrial.rules.yaml with its %d runbooks at %q", values, links, address)
		}
		if text, err = Render(filepath.Join("..", "verifier"), []byte(values)); err != nil {
			t.Fatal(err)
		}
		have := text["verifier/templates/alerts.yaml"]
		if n, want := strings.Count(have, "runbook_url: "+address+"docs/in-cluster.md#"), strings.Count(have, "- alert: "); n != want || n == 0 {
			t.Errorf("values %q: of the verifier's %d alerts %d lead to %sdocs/in-cluster.md", values, want, n, address)
		}
	}
}

// TestEverythingIsThere: a check over what is missing finds nothing wrong with it.
func TestEverythingIsThere(t *testing.T) {
	s := system(t, false)
	var apps []string
	for _, w := range s.Workloads() {
		apps = append(apps, w.App())
	}
	slices.Sort(apps)
	if want := []string{"api", "loadgen", "nats", "valkey", "worker"}; !slices.Equal(apps, want) {
		t.Errorf("workloads: %v, want %v", apps, want)
	}
	if n := len(Of[*network.NetworkPolicy](s)); n < 7 {
		t.Errorf("%d network policies, want at least 7", n)
	}
	jobs := s.Jobs()
	slices.Sort(jobs)
	if want := []string{"api", "loadgen", "nats", "valkey", "worker"}; !slices.Equal(jobs, want) {
		t.Errorf("scraped jobs: %v, want %v", jobs, want)
	}
	if have, want := tests(s), []string{"api-test", "loadgen-test", "nats-test", "seatrial-test", "valkey-test", "worker-test"}; !slices.Equal(have, want) {
		t.Errorf("pods of helm test: %v, want %v", have, want)
	}
	for _, svc := range Of[*core.Service](s) {
		if svc.Name == "api" && (svc.Spec.Ports[0].Port != 80 || svc.Spec.Selector["app"] != "api") {
			t.Errorf("the API's Service is %v", svc.Spec)
		}
	}
}

// tests lists the pods of `helm test`.
func tests(s System) []string {
	var all []string
	for _, p := range Of[*core.Pod](s) {
		if p.Annotations["helm.sh/hook"] == "test" {
			all = append(all, p.Name)
		}
	}
	slices.Sort(all)
	return all
}

// TestEveryChartHasATest: `helm test` of a chart that was installed alone runs something.
func TestEveryChartHasATest(t *testing.T) {
	for _, chart := range charts {
		s, err := Decode(rendered(t, chart, false))
		if err != nil {
			t.Fatal(err)
		}
		if have := tests(s); chart != "namespaces" && !slices.Contains(have, chart+"-test") {
			t.Errorf("chart %s: pods of helm test: %v, want %s-test among them", chart, have, chart)
		}
	}
}

// flowsFile is the shape of flows.yaml: who needs whom, and who else is tried.
type flowsFile struct {
	Outsiders []struct {
		Name, Namespace string
		Labels          map[string]string
		Ports           []intstr.IntOrString // 53 or 53/udp
	}
	Flows []string
}

func readFlows(path string) flowsFile {
	var n flowsFile
	text, err := os.ReadFile(path)
	if err == nil {
		err = yaml.UnmarshalStrict(text, &n)
	}
	if err != nil {
		panic(err)
	}
	return n
}

var needs = readFlows("../flows.yaml")

// outsidersOf are the ends in a file that are no pods of the system.
func outsidersOf(path string) []End {
	var all []End
	for _, o := range readFlows(path).Outsiders {
		e := End{Name: o.Name, Namespace: o.Namespace, Labels: o.Labels}
		for _, p := range o.Ports {
			port := core.ContainerPort{ContainerPort: int32(p.IntValue())}
			if number, udp := strings.CutSuffix(p.StrVal, "/udp"); udp {
				n, _ := strconv.Atoi(number)
				port = core.ContainerPort{ContainerPort: int32(n), Protocol: core.ProtocolUDP}
			}
			e.Ports = append(e.Ports, port)
		}
		if e.Namespace != "" {
			e.Ports = append(e.Ports, nobody)
		}
		all = append(all, e)
	}
	return all
}

// wrongFlows compares with flows.yaml; testdata/values/seatrial.yaml has another DNS and a gateway.
func wrongFlows(s System) []string {
	want := slices.Clone(needs.Flows)
	ends := outsidersOf("../flows.yaml")
	for _, p := range Of[*network.NetworkPolicy](s) {
		if p.Name == "dns" && p.Spec.Egress[0].Ports[0].Port.IntValue() == 5353 {
			ends[2] = End{Name: "dns", Namespace: "dns", Labels: map[string]string{"app": "coredns"}, Ports: []core.ContainerPort{
				{ContainerPort: 5353}, {ContainerPort: 5353, Protocol: core.ProtocolUDP}, {ContainerPort: 53}, nobody}}
			ends = append(ends, End{Name: "gateway", Namespace: "gateway", Ports: []core.ContainerPort{nobody}})
			for i := range want {
				want[i] = strings.Replace(want[i], "dns:53", "dns:5353", 1)
			}
			want = append(want, "gateway->api:8080")
		}
	}
	open, err := s.Flows(append(s.Ends(), ends...))
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	for i := range open {
		open[i] = strings.ReplaceAll(open[i], " ", "")
		if !slices.Contains(want, open[i]) {
			problems = append(problems, "open, and nobody needs it: "+open[i])
		}
	}
	for _, f := range want {
		if !slices.Contains(open, f) {
			problems = append(problems, "needed, and closed: "+f)
		}
	}
	return problems
}

func firstDifference(want, have string) (string, bool) {
	w, h := strings.Split(want, "\n"), strings.Split(have, "\n")
	for i := range max(len(w), len(h)) {
		a, b := "(end)", "(end)"
		if i < len(w) {
			a = w[i]
		}
		if i < len(h) {
			b = h[i]
		}
		if a != b {
			return "\n  file:     " + a + "\n  rendered: " + b, true
		}
	}
	return "", false
}

package check

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	network "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

const clusterFolder = "../../cluster"

// loaded are the images that the cluster's node gets.
var loaded = func() []string {
	var all []string
	for _, name := range strings.Fields(`api worker nats-exporter loadgen seatrial valkey-exporter nats valkey
		pause chaos-mesh chaos-daemon coredns metrics-server kube-network-policies
		prometheus-operator prometheus-config-reloader prometheus alertmanager`) {
		all = append(all, "seatrial/"+name+":dev")
	}
	return all
}()

// moduleOf is the source of a module that a nested module of this repository requires.
func moduleOf(t testing.TB, nested, path string) string {
	t.Helper()
	run := func(args ...string) string {
		cmd := exec.Command("go", args...)
		cmd.Dir = filepath.Join(root, nested)
		cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go %s in %s: %v", strings.Join(args, " "), nested, err)
		}
		return strings.TrimSpace(string(out))
	}
	if dir := run("list", "-m", "-f", "{{.Dir}}", path); dir != "" {
		return dir
	}
	run("mod", "download", path)
	return run("list", "-m", "-f", "{{.Dir}}", path)
}

func chaosMeshChart(t testing.TB) string {
	return filepath.Join(moduleOf(t, "deploy/cluster/modules/chaos-mesh", "github.com/chaos-mesh/chaos-mesh"), "helm", "chaos-mesh")
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// releasedText renders a chart with the values in a file, or with its own where there is none.
func releasedText(t testing.TB, chart, name, namespace, values string) Text {
	t.Helper()
	var data []byte
	if values != "" {
		data = read(t, values)
	}
	text, err := Release(chart, name, namespace, data)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func decoded(t testing.TB, text Text) System {
	t.Helper()
	s, err := Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func manifestsOfCluster(t testing.TB) (Text, []APIService) {
	t.Helper()
	text, err := Manifests(filepath.Join(clusterFolder, "manifests"))
	if err != nil {
		t.Fatal(err)
	}
	text, services, err := SplitAPIServices(text)
	if err != nil {
		t.Fatal(err)
	}
	return text, services
}

var rendering struct {
	sync.Once
	texts []Text
}

// cluster is everything that is put onto the cluster, anew each time.
func cluster(t testing.TB) System {
	t.Helper()
	rendering.Do(func() {
		values := func(name string) string { return filepath.Join(clusterFolder, "values", name+".yaml") }
		plain, _ := manifestsOfCluster(t)
		rendering.texts = []Text{
			plain,
			releasedText(t, chaosMeshChart(t), "chaos-mesh", "chaos-mesh", values("chaos-mesh")),
			releasedText(t, "../namespaces", "namespaces", "default", ""),
			releasedText(t, "../seatrial", "seatrial", "seatrial", values("seatrial")),
			releasedText(t, "../verifier", "verifier", "seatrial-verifier", values("verifier")),
		}
	})
	var s System
	for _, text := range rendering.texts {
		s = append(s, decoded(t, text)...)
	}
	if len(s) == 0 {
		t.Fatal("nothing was rendered")
	}
	return s
}

// room is what of the node's two cores pods may ask for; the rest is for the system itself.
var room = resource.MustParse("1700m")

func tooMuch(s System) []string {
	always, more := CPU(s)
	sum := always.DeepCopy()
	sum.Add(more)
	if sum.Cmp(room) > 0 {
		return []string{fmt.Sprintf("pods ask for %s CPU always and %s more at times: more than %s", &always, &more, &room)}
	}
	return nil
}

// restricted is the level that monitoring enforces; the rest of what is here could live with it too,
// but for the program that writes the node's packet filter.
func restricted(s System) []string {
	return Security(slices.DeleteFunc(slices.Clone(s), func(o Object) bool {
		_, daemon := o.Object.(*apps.DaemonSet)
		return daemon || !slices.Contains([]string{"kube-system", "monitoring", "seatrial", "seatrial-verifier"}, o.Meta.GetNamespace())
	}))
}

var clusterChecks = map[string]func(System) []string{
	"images":   func(s System) []string { return Loaded(s, loaded) },
	"cpu":      tooMuch,
	"asking":   Asking,
	"volumes":  Volumes,
	"peers":    Peers,
	"security": restricted,
	"dns":      resolver,
	"spare":    spare,
	"observed": observed,
	"queue":    queue,
	"server":   server,
}

// resolver: the DNS service has the address that kubelet writes into pods, and finds a pod.
func resolver(s System) []string {
	for _, svc := range Of[*core.Service](s) {
		if svc.Namespace == "kube-system" && svc.Name == "kube-dns" {
			want := constant(`dnsAddress\s*=\s*"([^"]+)"`)
			if svc.Spec.ClusterIP != want {
				return []string{fmt.Sprintf("the DNS service is at %s, kubelet says %s", svc.Spec.ClusterIP, want)}
			}
			return Services(System{{Object: svc, Meta: svc}, {Object: deploymentOrNone(s, "coredns")}})
		}
	}
	return []string{"there is no Service kube-dns"}
}

func deploymentOrNone(s System, name string) *apps.Deployment {
	for _, d := range Of[*apps.Deployment](s) {
		if d.Name == name {
			return d
		}
	}
	return &apps.Deployment{}
}

// constant finds a constant of the node's sources.
func constant(pattern string) string {
	files, _ := filepath.Glob(filepath.Join(clusterFolder, "node", "*.go"))
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		if m := regexp.MustCompile(pattern).FindSubmatch(data); m != nil {
			return string(m[1])
		}
	}
	return "nothing like " + pattern
}

// spare: volumes are on the node that there is, with folders of their own, and one is left over
// for a claim that a trial adds.
func spare(s System) []string {
	var problems []string
	node := constant(`\bName\s*=\s*"([^"]+)"`)
	paths := map[string]bool{}
	for _, v := range Of[*core.PersistentVolume](s) {
		paths[v.Spec.Local.Path] = true
		if have := v.Spec.NodeAffinity.Required.NodeSelectorTerms[0].MatchExpressions[0].Values; !slices.Equal(have, []string{node}) {
			problems = append(problems, fmt.Sprintf("volume %s is on node %v, there is %s", v.Name, have, node))
		}
	}
	if n := len(Of[*core.PersistentVolume](s)); n != len(paths) {
		problems = append(problems, fmt.Sprintf("%d volumes share %d folders", n, len(paths)))
	}
	return problems
}

// server: where a policy names an address, it is the node's, at which the API server is.
func server(s System) []string {
	want := constant(`\bAddress\s*=\s*"([^"]+)"`) + "/32"
	var found int
	var problems []string
	for _, p := range Of[*network.NetworkPolicy](s) {
		for _, rule := range p.Spec.Egress {
			for _, peer := range rule.To {
				switch {
				case peer.IPBlock == nil:
				case peer.IPBlock.CIDR != want:
					problems = append(problems, fmt.Sprintf("NetworkPolicy %s/%s lets pods reach %s, the API server is %s", p.Namespace, p.Name, peer.IPBlock.CIDR, want))
				default:
					found++
				}
			}
		}
	}
	if found == 0 {
		problems = append(problems, "no NetworkPolicy lets the verifier reach the API server at "+want)
	}
	return problems
}

// queue: the node's rules and the program that judges speak of the same queue.
func queue(s System) []string {
	want := "--nfqueue-id=" + constant(`PolicyQueue\s*=\s*(\d+)`)
	for _, p := range s.Placed() {
		for _, c := range p.Spec.Containers {
			if slices.Contains(c.Args, want) {
				return nil
			}
		}
	}
	return []string{"nobody is started with " + want}
}

// observed: Prometheus and Alertmanager are configured as on the local testbed, for the versions that are built.
func observed(s System) []string {
	p, a := Of[*monitoring.Prometheus](s), Of[*monitoring.Alertmanager](s)
	if len(p) != 1 || len(a) != 1 {
		return []string{fmt.Sprintf("%d Prometheus and %d Alertmanager, want one of each", len(p), len(a))}
	}
	return append(scrapes(p[0].Spec), alerts(s, a[0])...)
}

func scrapes(spec monitoring.PrometheusSpec) []string {
	var problems []string
	if spec.ScrapeInterval != "1s" || spec.ScrapeTimeout != "1s" || spec.EvaluationInterval != "1s" {
		problems = append(problems, fmt.Sprintf("Prometheus scrapes every %s for %s and evaluates every %s, want 1s", spec.ScrapeInterval, spec.ScrapeTimeout, spec.EvaluationInterval))
	}
	for _, label := range []*string{spec.PrometheusExternalLabelName, spec.ReplicaExternalLabelName} {
		if label == nil || *label != "" {
			problems = append(problems, "Prometheus puts labels of its own on alerts")
		}
	}
	if !slices.ContainsFunc(spec.ScrapeClasses, func(c monitoring.ScrapeClass) bool {
		return c.Default != nil && *c.Default && slices.ContainsFunc(c.Relabelings, func(r monitoring.RelabelConfig) bool {
			return r.TargetLabel == "instance" && slices.Equal(r.SourceLabels, []monitoring.LabelName{"__meta_kubernetes_pod_name"})
		})
	}) {
		problems = append(problems, "series end with their pod's address: no alert sees that a server of the same name started anew")
	}
	for what, looks := range map[string]bool{
		"ServiceMonitors": spec.ServiceMonitorSelector != nil && spec.ServiceMonitorNamespaceSelector != nil,
		"PodMonitors":     spec.PodMonitorSelector != nil && spec.PodMonitorNamespaceSelector != nil,
		"PrometheusRules": spec.RuleSelector != nil && spec.RuleNamespaceSelector != nil,
	} {
		if !looks {
			problems = append(problems, "Prometheus does not look for "+what+" in our namespaces")
		}
	}
	if want := "v3." + minor("prometheus", "prometheus"); spec.Version != want {
		problems = append(problems, fmt.Sprintf("Prometheus is configured as %s, %s is built", spec.Version, want))
	}
	return problems
}

func alerts(s System, a *monitoring.Alertmanager) []string {
	var problems []string
	if want := pinned("alertmanager", "alertmanager"); a.Spec.Version != want {
		problems = append(problems, fmt.Sprintf("Alertmanager is configured as %s, %s is built", a.Spec.Version, want))
	}
	secrets := Of[*core.Secret](s)
	i := slices.IndexFunc(secrets, func(c *core.Secret) bool { return c.Name == a.Spec.ConfigSecret && c.Namespace == a.Namespace })
	rules, err := os.ReadFile(filepath.Join(root, "deploy", "rules", "alertmanager.yaml"))
	if err != nil || i < 0 || secrets[i].StringData["alertmanager.yaml"] != string(rules) {
		problems = append(problems, fmt.Sprintf("Alertmanager's Secret is not deploy/rules/alertmanager.yaml (%v)", err))
	}
	return problems
}

// pinned is the version of a module of Prometheus' that deploy/servers builds.
func pinned(folder, module string) string {
	data, err := os.ReadFile(filepath.Join(root, "deploy", "servers", folder, "go.mod"))
	if err != nil {
		return err.Error()
	}
	m := regexp.MustCompile(`github.com/prometheus/` + module + ` (v\S+)`).FindSubmatch(data)
	if m == nil {
		return "no version in deploy/servers/" + folder
	}
	return string(m[1])
}

// minor turns v0.315.0 into 15.0: as a module, Prometheus 3.15.0 is called that.
func minor(folder, module string) string {
	return strings.TrimPrefix(pinned(folder, module), "v0.3")
}

// TestCluster judges everything that is put onto the cluster, together.
func TestCluster(t *testing.T) {
	s := cluster(t)
	for name, check := range clusterChecks {
		for _, problem := range check(s) {
			t.Errorf("%s: %s", name, problem)
		}
	}
	always, more := CPU(s)
	t.Logf("pods ask for %s CPU, and %s more during rollouts and runs", &always, &more)
}

// TestAlertmanagerSecret keeps the manifest that is generated from the rules' configuration.
func TestAlertmanagerSecret(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Generated from deploy/rules/alertmanager.yaml: cd deploy/charts/check && go test -run TestAlertmanagerSecret -update .\n")
	b.WriteString("apiVersion: v1\nkind: Secret\nmetadata:\n  name: alertmanager-seatrial\n  namespace: monitoring\nstringData:\n  alertmanager.yaml: |\n")
	for line := range strings.Lines(string(read(t, filepath.Join(root, "deploy", "rules", "alertmanager.yaml")))) {
		if strings.TrimSpace(line) != "" {
			b.WriteString("    ")
		}
		b.WriteString(line)
	}
	golden(t, filepath.Join(clusterFolder, "manifests", "32-alertmanager.yaml"), b.String())
}

// TestCatalogue: the list of images in this package is that of whoever makes them.
func TestCatalogue(t *testing.T) {
	catalogue := string(read(t, filepath.Join(clusterFolder, "cmd", "images", "catalogue.go")))
	for _, image := range loaded {
		name := strings.TrimSuffix(strings.TrimPrefix(image, "seatrial/"), ":dev")
		if !strings.Contains(catalogue, `"`+name+`"`) && !strings.Contains(catalogue, `"`+image+`"`) {
			t.Errorf("nobody makes the image %s", image)
		}
	}
}

// TestMetricsAPI: the API server finds metrics-server behind the service that is named.
func TestMetricsAPI(t *testing.T) {
	text, services := manifestsOfCluster(t)
	s := decoded(t, text)
	if len(services) != 1 || services[0].Metadata.Name != "v1beta1.metrics.k8s.io" {
		t.Fatalf("APIServices: %v", services)
	}
	named(t, Of[*core.Service](s), services[0].Spec.Service.Name)
	if problems := Services(slices.DeleteFunc(slices.Clone(s), func(o Object) bool { return o.Meta.GetNamespace() != services[0].Spec.Service.Namespace })); len(problems) > 0 {
		t.Error(problems)
	}
}

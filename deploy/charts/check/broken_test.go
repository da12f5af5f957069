package check

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	scaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	network "k8s.io/api/networking/v1"
	disruption "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// named returns the object of a type with a name.
func named[T interface {
	meta.Object
	comparable
}](t *testing.T, all []T, name string) T {
	t.Helper()
	i := slices.IndexFunc(all, func(o T) bool { return o.GetName() == name })
	if i < 0 {
		t.Fatalf("no %T %s", *new(T), name)
	}
	return all[i]
}

func deployment(t *testing.T, s System, name string) *apps.Deployment {
	return named(t, Of[*apps.Deployment](s), name)
}

func container(t *testing.T, s System, app, name string) *core.Container {
	t.Helper()
	for _, p := range s.Pods() {
		for i := range p.Spec.Containers {
			if p.App() == app && p.Spec.Containers[i].Name == name {
				return &p.Spec.Containers[i]
			}
		}
	}
	t.Fatalf("no container %s in %s", name, app)
	return nil
}

func policyOf(t *testing.T, s System, name string) *network.NetworkPolicy {
	return named(t, Of[*network.NetworkPolicy](s), name)
}

// TestEveryCheckFindsWhatIsBroken breaks one thing at a time, and wants the sentence about it.
func TestEveryCheckFindsWhatIsBroken(t *testing.T) {
	for _, c := range []struct {
		check, want string
		mutate      func(*testing.T, System)
	}{
		{"security", "Deployment api: Pod Security: allowPrivilegeEscalation", func(t *testing.T, s System) {
			container(t, s, "api", "api").SecurityContext.AllowPrivilegeEscalation = nil
		}},
		{"security", "StatefulSet nats: Pod Security: runAsNonRoot", func(t *testing.T, s System) {
			named(t, Of[*apps.StatefulSet](s), "nats").Spec.Template.Spec.SecurityContext.RunAsNonRoot = nil
		}},
		{"security", "Deployment api: Pod Security: probe or lifecycle host", func(t *testing.T, s System) {
			container(t, s, "api", "api").LivenessProbe.HTTPGet.Host = "198.51.100.1"
		}},
		{"hardening", "container exporter: the root file system can be written", func(t *testing.T, s System) {
			container(t, s, "valkey", "exporter").SecurityContext.ReadOnlyRootFilesystem = nil
		}},
		{"hardening", "Deployment worker: enableServiceLinks is on", func(t *testing.T, s System) {
			deployment(t, s, "worker").Spec.Template.Spec.EnableServiceLinks = nil
		}},
		{"hardening", "mounts a token", func(t *testing.T, s System) {
			deployment(t, s, "worker").Spec.Template.Spec.AutomountServiceAccountToken = nil
		}},
		{"hardening", "container nats sets a command", func(t *testing.T, s System) {
			container(t, s, "nats", "nats").Command = []string{"/bin/sh"}
		}},
		{"hardening", "container sentinel needs requests", func(t *testing.T, s System) {
			container(t, s, "valkey", "sentinel").Resources.Limits = nil
		}},
		{"probes", "Deployment api: container api: liveness probe asks host elsewhere", func(t *testing.T, s System) {
			container(t, s, "api", "api").LivenessProbe.HTTPGet.Host = "elsewhere"
		}},
		{"probes", "container loadgen: liveness probe asks host elsewhere", func(t *testing.T, s System) {
			container(t, s, "loadgen", "loadgen").LivenessProbe.TCPSocket.Host = "elsewhere"
		}},
		{"probes", "container worker: liveness probe looks at dependencies", func(t *testing.T, s System) {
			container(t, s, "worker", "worker").LivenessProbe.HTTPGet.Path = "/readyz"
		}},
		{"probes", "container nats: liveness probe looks at dependencies", func(t *testing.T, s System) {
			container(t, s, "nats", "nats").LivenessProbe.HTTPGet.Path = "/healthz"
		}},
		{"probes", "container valkey: liveness and readiness ask the same", func(t *testing.T, s System) {
			c := container(t, s, "valkey", "valkey")
			c.ReadinessProbe.ProbeHandler = c.LivenessProbe.ProbeHandler
		}},
		{"probes", "container sentinel: no liveness probe", func(t *testing.T, s System) {
			container(t, s, "valkey", "sentinel").LivenessProbe = nil
		}},
		{"probes", "Deployment api: no container has a readiness probe", func(t *testing.T, s System) {
			container(t, s, "api", "api").ReadinessProbe = nil
		}},
		{"rollouts", "may take pods away", func(t *testing.T, s System) {
			one := intstr.FromInt32(1)
			deployment(t, s, "api").Spec.Strategy.RollingUpdate.MaxUnavailable = &one
		}},
		{"rollouts", "not called stuck", func(t *testing.T, s System) {
			deployment(t, s, "api").Spec.ProgressDeadlineSeconds = nil
		}},
		{"rollouts", "no minReadySeconds", func(t *testing.T, s System) { deployment(t, s, "api").Spec.MinReadySeconds = 0 }},
		{"rollouts", "ends before balancers know", func(t *testing.T, s System) { container(t, s, "api", "api").Lifecycle = nil }},
		{"rollouts", "the old version's pods count", func(t *testing.T, s System) {
			deployment(t, s, "api").Spec.Template.Spec.TopologySpreadConstraints[0].MatchLabelKeys = nil
		}},
		{"rollouts", "StatefulSet valkey: its pods are not spread", func(t *testing.T, s System) {
			named(t, Of[*apps.StatefulSet](s), "valkey").Spec.Template.Spec.TopologySpreadConstraints = nil
		}},
		{"rollouts", "StatefulSet nats: its pods wait", func(t *testing.T, s System) {
			named(t, Of[*apps.StatefulSet](s), "nats").Spec.PodManagementPolicy = apps.OrderedReadyPodManagement
		}},
		{"services", "Service worker selects no pods", func(t *testing.T, s System) {
			named(t, Of[*core.Service](s), "worker").Spec.Selector["app"] = "workers"
		}},
		{"services", "Service api: Deployment api has no port web", func(t *testing.T, s System) {
			named(t, Of[*core.Service](s), "api").Spec.Ports[0].TargetPort = intstr.FromString("web")
		}},
		{"services", "ServiceMonitor nats selects no Service", func(t *testing.T, s System) {
			named(t, Of[*monitoring.ServiceMonitor](s), "nats").Spec.Selector.MatchLabels["app"] = "gnats"
		}},
		{"services", `ServiceMonitor api: Service api has no port "metrics"`, func(t *testing.T, s System) {
			named(t, Of[*monitoring.ServiceMonitor](s), "api").Spec.Endpoints[0].Port = "metrics"
		}},
		{"budgets", "Deployment loadgen has 0 disruption budgets", func(t *testing.T, s System) {
			named(t, Of[*disruption.PodDisruptionBudget](s), "loadgen").Spec.Selector.MatchLabels["app"] = "nobody"
		}},
		{"budgets", "lets a broken pod keep a node", func(t *testing.T, s System) {
			named(t, Of[*disruption.PodDisruptionBudget](s), "nats").Spec.UnhealthyPodEvictionPolicy = nil
		}},
		{"budgets", "does not say maxUnavailable: 1", func(t *testing.T, s System) {
			two := intstr.FromInt32(2)
			named(t, Of[*disruption.PodDisruptionBudget](s), "nats").Spec.MaxUnavailable = &two
		}},
		{"autoscalers", "scales a Deployment that is not there", func(t *testing.T, s System) {
			named(t, Of[*scaling.HorizontalPodAutoscaler](s), "api").Spec.ScaleTargetRef.Name = "apis"
		}},
		{"autoscalers", "Deployment worker sets replicas", func(t *testing.T, s System) {
			n := int32(2)
			deployment(t, s, "worker").Spec.Replicas = &n
		}},
		{"autoscalers", "does not say how to go up and down", func(t *testing.T, s System) {
			named(t, Of[*scaling.HorizontalPodAutoscaler](s), "worker").Spec.Behavior = nil
		}},
		{"addresses", "dials nats-2.nats, which no StatefulSet makes", func(t *testing.T, s System) {
			n := int32(2)
			named(t, Of[*apps.StatefulSet](s), "nats").Spec.Replicas = &n
		}},
		{"addresses", "dials valkey-0.valkey, which has no address before it is ready", func(t *testing.T, s System) {
			named(t, Of[*core.Service](s), "valkey").Spec.PublishNotReadyAddresses = false
		}},
		{"scripts", "ConfigMap valkey: decide.sh is not deploy/valkey/decide.sh", func(t *testing.T, s System) {
			named(t, Of[*core.ConfigMap](s), "valkey").Data["decide.sh"] += "\n"
		}},
		{"scripts", "ConfigMap nats: nats.conf is not deploy/nats/nats.conf", func(t *testing.T, s System) {
			delete(named(t, Of[*core.ConfigMap](s), "nats").Data, "nats.conf")
		}},
		{"alerts", "the PrometheusRule is neither deploy/rules/seatrial.rules.yaml nor", func(t *testing.T, s System) {
			Of[*monitoring.PrometheusRule](s)[0].Spec.Groups[1].Rules[0].Expr = intstr.FromString("vector(1)")
		}},
		{"alerts", "the PrometheusRule is neither deploy/rules/seatrial.rules.yaml nor", func(t *testing.T, s System) {
			alertOf(t, s, "WorkerDown").Annotations["runbook_url"] = "https://gone.example/runbooks/WorkerDown.md"
		}},
		{"victims", "experiment api-kill finds no victim", func(t *testing.T, s System) {
			deployment(t, s, "api").Spec.Template.Labels["app"] = "seatrial-api"
		}},
		{"victims", "experiment worker-valkey-delay finds no target", func(t *testing.T, s System) {
			named(t, Of[*apps.StatefulSet](s), "valkey").Spec.Template.Labels["app"] = "redis"
		}},
		{"victims", "experiment worker-container-kill: Deployment worker has no container worker", func(t *testing.T, s System) {
			container(t, s, "worker", "worker").Name = "main"
		}},
		{"victims", `rule WorkerRestarting: nothing is scraped as job "worker"`, func(t *testing.T, s System) {
			named(t, Of[*monitoring.ServiceMonitor](s), "worker").Spec.JobLabel = ""
		}},
		{"settings", "ConfigMap worker: SEATRIAL_API_LISTEN is no setting of worker", func(t *testing.T, s System) {
			named(t, Of[*core.ConfigMap](s), "worker").Data["SEATRIAL_API_LISTEN"] = ":1"
		}},
		{"flows", "open, and nobody needs it: stranger->nats:4222", func(t *testing.T, s System) {
			policyOf(t, s, "nats").Spec.Ingress[0].From = nil
			policyOf(t, s, "default-deny").Spec.PolicyTypes = []network.PolicyType{network.PolicyTypeIngress}
			policyOf(t, s, "dns").Spec.PodSelector.MatchLabels = map[string]string{"app": "api"}
		}},
		{"flows", "open, and nobody needs it: neighbour->api:8080", func(t *testing.T, s System) {
			policyOf(t, s, "api").Spec.Ingress[0].From = []network.NetworkPolicyPeer{{NamespaceSelector: &meta.LabelSelector{}}}
		}},
		{"flows", "open, and nobody needs it: prometheus->api:9999", func(t *testing.T, s System) {
			policyOf(t, s, "metrics").Spec.Ingress[0].Ports = nil
		}},
		{"flows", "open, and nobody needs it: worker->world:443", func(t *testing.T, s System) {
			policyOf(t, s, "worker").Spec.Egress = []network.NetworkPolicyEgressRule{{}}
		}},
		{"flows", "needed, and closed: nats->nats:6222", func(t *testing.T, s System) { policyOf(t, s, "nats").Spec.Egress = nil }},
		{"flows", "needed, and closed: worker->valkey:26379", func(t *testing.T, s System) {
			p := policyOf(t, s, "valkey")
			p.Spec.Ingress[0].Ports = p.Spec.Ingress[0].Ports[:1]
		}},
		{"flows", "needed, and closed: api->dns:53/udp", func(t *testing.T, s System) {
			p := policyOf(t, s, "dns")
			p.Spec.Egress[0].Ports = p.Spec.Egress[0].Ports[1:]
		}},
		{"flows", "who is in it cannot be told", func(t *testing.T, s System) {
			policyOf(t, s, "api").Spec.Ingress[0].From = []network.NetworkPolicyPeer{{IPBlock: &network.IPBlock{CIDR: "0.0.0.0/0"}}}
		}},
	} {
		t.Run(c.check+"/"+c.want, func(t *testing.T) {
			s := system(t, false)
			c.mutate(t, s)
			i := slices.IndexFunc(checks, func(k struct {
				name  string
				alone bool
				run   func(System) []string
			}) bool {
				return k.name == c.check
			})
			problems := checks[i].run(s)
			if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, c.want) }) {
				t.Errorf("the check %s does not say %q, but:\n%s", c.check, c.want, strings.Join(problems, "\n"))
			}
		})
	}
}

// TestEveryCheckIsTested: a new check without a broken input would not be noticed to be blind.
func TestEveryCheckIsTested(t *testing.T) {
	text, err := os.ReadFile("broken_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range checks {
		if !strings.Contains(string(text), "\t\t{\""+c.name+"\", ") {
			t.Errorf("nothing is broken for the check %s", c.name)
		}
	}
}

// TestUnknownFieldsAreErrors: as an API server would only warn of them, or say nothing.
func TestUnknownFieldsAreErrors(t *testing.T) {
	for file, c := range map[string]struct{ old, new, want string }{
		"seatrial/charts/api/templates/deployment.yaml": {"minReadySeconds: 5", "minReadySecond: 5", `unknown field "spec.minReadySecond"`},
		"seatrial/charts/nats/templates/guards.yaml":    {"jobLabel: app", "jobLabels: app", `unknown field "spec.jobLabels"`},
		"seatrial/templates/rules.yaml":                 {"keep_firing_for:", "keepFiringFor:", `keepFiringFor"`},
		"seatrial/templates/networkpolicies.yaml":       {"policyTypes: [Egress]", "policyTypes: [Egress]\n  policyTypes: [Egress]", "policyTypes"},
		"seatrial/charts/nats/templates/service.yaml":   {"apiVersion: v1", "apiVersion: v9", `"v9"`},
	} {
		text := maps.Clone(rendered(t, "seatrial", false))
		if !strings.Contains(text[file], c.old) {
			t.Fatalf("%s does not hold %q", file, c.old)
		}
		text[file] = strings.ReplaceAll(text[file], c.old, c.new)
		if _, err := Decode(text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", file, err, c.want)
		}
	}
}

// TestSchemasRefuse: a wrong value is named, with what would be right.
func TestSchemasRefuse(t *testing.T) {
	for _, c := range []struct{ chart, values, want string }{
		{"api", "replicas: two", "at '/replicas': got string, want integer"},
		{"api", "replica: 3", "additional properties 'replica' not allowed"},
		{"api", "settings: {publish_deadline: 4}", "at '/settings/publish_deadline': got number, want string"},
		{"api", "settings: {publish_timeout: 4s}", "additional properties 'publish_timeout' not allowed"},
		{"api", "settings: {nats_urls: []}", "minItems: got 0, want 1"},
		{"worker", "settings: {work_kind: sing}", "value must be one of 'hash', 'sleep', 'cpu'"},
		{"worker", "autoscaling: {cpuPercent: 0}", "minimum: got 0, want 1"},
		{"worker", "image: {digest: latest}", "at '/image/digest': 'latest' does not match pattern"},
		{"loadgen", "storage: much", "at '/storage'"},
		{"nats", "maxFileStore: 8GiB", "at '/maxFileStore'"},
		{"nats", "goMemLimit: 800Mi", "at '/goMemLimit'"},
		{"nats", "resources: {limits: null}", "limits"},
		{"valkey", "appendfsync: never", "value must be one of 'everysec', 'always'"},
		{"namespaces", "namespaces: {seatrial: strict}", "value must be one of 'restricted', 'baseline', 'privileged'"},
		{"seatrial", "networkPolicy: {prometheus: []}", "minItems: got 0, want 1"},
		{"seatrial", "valkey: {persistence: {enabled: maybe}}", "at '/persistence/enabled': got string, want boolean"},
		{"seatrial", "globals: {}", "additional properties 'globals' not allowed"},
		{"seatrial", "rules: none", "value must be one of 'trial', 'production'"},
		{"seatrial", "runbooksURL: git.example.com/seatrial", "at '/runbooksURL': 'git.example.com/seatrial' does not match pattern"},
		{"verifier", "runbooksURL: git.example.com/seatrial", "at '/runbooksURL': 'git.example.com/seatrial' does not match pattern"},
		{"seatrial", "global: {spread: Never}", "value must be one of 'ScheduleAnyway', 'DoNotSchedule'"},
	} {
		_, err := Render(filepath.Join("..", c.chart), []byte(c.values))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s with %s: %v, want %q", c.chart, c.values, err, c.want)
		}
	}
}

// TestGoldenTellsALine: the comparison itself sees a difference.
func TestGoldenTellsALine(t *testing.T) {
	if line, differs := firstDifference("a\nb\n", "a\nc\n"); !differs || !strings.Contains(line, "b") || !strings.Contains(line, "c") {
		t.Errorf("said %q, %v", line, differs)
	}
	if _, differs := firstDifference("a\n", "a\n"); differs {
		t.Error("equal texts differ")
	}
	if _, differs := firstDifference("a\nb", "a"); !differs {
		t.Error("a text that was cut is equal")
	}
}

package check

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	network "k8s.io/api/networking/v1"
	rbac "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

func verifierSystem(t testing.TB, alternative bool) System {
	t.Helper()
	s, err := Decode(rendered(t, "verifier", alternative))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// verifierChecks are those of the chart verifier only.
var verifierChecks = []struct {
	name string
	run  func(System) []string
}{
	{"runs", Runs},
	{"rights", func(s System) []string { return Rights(s, root) }},
	{"measured", func(s System) []string { return Measured(s, root) }},
	{"verifier-flows", wrongVerifierFlows},
}

// TestVerifierChart: both sets of values pass, but for what the other set has in other places.
func TestVerifierChart(t *testing.T) {
	for _, alternative := range []bool{false, true} {
		s := verifierSystem(t, alternative)
		for _, c := range verifierChecks {
			if alternative && (c.name == "verifier-flows" || c.name == "rights") {
				continue // the API server's address, and Chaos Mesh's namespace, are others
			}
			for _, problem := range c.run(s) {
				t.Errorf("alternative %v: %s: %s", alternative, c.name, problem)
			}
		}
	}
}

// TestVerifierIsThere: a check over what is missing finds nothing wrong with it.
func TestVerifierIsThere(t *testing.T) {
	s := verifierSystem(t, true)
	var pods []string
	for _, p := range s.Pods() {
		pods = append(pods, p.Owner)
	}
	slices.Sort(pods)
	if want := []string{"CronJob verifier", "Deployment janitor", "Deployment reports", "Job verifier-run-1", "Pod verifier-test"}; !slices.Equal(pods, want) {
		t.Errorf("pods: %v, want %v", pods, want)
	}
	jobs := s.Jobs()
	slices.Sort(jobs)
	if want := []string{"janitor", "reports"}; !slices.Equal(jobs, want) {
		t.Errorf("scraped jobs: %v, want %v", jobs, want)
	}
	if n := len(Of[*monitoring.PrometheusRule](s)[0].Spec.Groups[0].Rules); n != 7 {
		t.Errorf("%d rules, want 7", n)
	}
	if len(Of[*batch.Job](verifierSystem(t, false))) != 0 {
		t.Error("to install the chart starts a run, though nobody asked for one")
	}
}

// ends of the verifier's namespace.
func verifierEnds(s System) []End {
	own := s.Ends()
	for i := range own {
		own[i].Namespace = VerifierNamespace
	}
	return append(own, outsidersOf("testdata/flows.verifier.yaml")...)
}

// wrongVerifierFlows compares with testdata/flows.verifier.yaml.
func wrongVerifierFlows(s System) []string {
	open, err := s.Flows(verifierEnds(s))
	if err != nil {
		return []string{err.Error()}
	}
	want := readFlows("testdata/flows.verifier.yaml").Flows
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

// TestEveryVerifierCheckFindsWhatIsBroken breaks one thing at a time.
func TestEveryVerifierCheckFindsWhatIsBroken(t *testing.T) {
	cron := func(s System) *batch.CronJob { return Of[*batch.CronJob](s)[0] }
	role := func(t *testing.T, s System, namespace, name string) *rbac.Role {
		for _, r := range Of[*rbac.Role](s) {
			if r.Namespace == namespace && r.Name == name {
				return r
			}
		}
		t.Fatalf("no Role %s/%s", namespace, name)
		return nil
	}
	for _, c := range []struct {
		check, want string
		mutate      func(*testing.T, System)
	}{
		{"runs", "CronJob verifier: starts a run while another one is held", func(t *testing.T, s System) {
			cron(s).Spec.ConcurrencyPolicy = batch.AllowConcurrent
		}},
		{"runs", "leaves open when it starts", func(t *testing.T, s System) { cron(s).Spec.StartingDeadlineSeconds = nil }},
		{"runs", "tries a failed run again", func(t *testing.T, s System) {
			n := int32(1)
			cron(s).Spec.JobTemplate.Spec.BackoffLimit = &n
		}},
		{"runs", "has no deadline", func(t *testing.T, s System) { cron(s).Spec.JobTemplate.Spec.ActiveDeadlineSeconds = nil }},
		{"runs", "no time to take its faults back", func(t *testing.T, s System) {
			cron(s).Spec.JobTemplate.Spec.Template.Spec.TerminationGracePeriodSeconds = nil
		}},
		{"runs", "Job verifier-run-1: stays for ever", func(t *testing.T, s System) { Of[*batch.Job](s)[0].Spec.TTLSecondsAfterFinished = nil }},
		{"rights", "may not delete pods in seatrial", func(t *testing.T, s System) {
			role(t, s, Namespace, "verifier").Rules[0].Verbs = []string{"get", "list"}
		}},
		{"rights", "may get secrets in seatrial, which docs", func(t *testing.T, s System) {
			r := role(t, s, Namespace, "verifier")
			r.Rules = append(r.Rules, rbac.PolicyRule{Resources: []string{"secrets"}, Verbs: []string{"get"}})
		}},
		{"rights", "the janitor may list secrets in seatrial, and the verifier may not", func(t *testing.T, s System) {
			r := role(t, s, Namespace, "janitor")
			r.Rules = append(r.Rules, rbac.PolicyRule{Resources: []string{"secrets"}, Verbs: []string{"list"}})
		}},
		{"rights", "Role seatrial/janitor: a star", func(t *testing.T, s System) { role(t, s, Namespace, "janitor").Rules[0].Verbs = []string{"*"} }},
		{"rights", "RoleBinding seatrial/janitor: there is no account seatrial-verifier/cleaner", func(t *testing.T, s System) {
			for _, b := range Of[*rbac.RoleBinding](s) {
				if b.Namespace == Namespace && b.Name == "janitor" {
					b.Subjects[0].Name = "cleaner"
				}
			}
		}},
		{"rights", "reports asks nobody, and may", func(t *testing.T, s System) {
			for _, b := range Of[*rbac.RoleBinding](s) {
				b.Subjects = append(b.Subjects, rbac.Subject{Kind: "ServiceAccount", Name: "reports", Namespace: VerifierNamespace})
			}
		}},
		{"rights", "Deployment janitor: its account has rights: true, it has a token: false", func(t *testing.T, s System) {
			deployment(t, s, "janitor").Spec.Template.Spec.Volumes = nil
		}},
		{"measured", "alert SeatrialJanitorBlind: nobody serves janitor_last_seen", func(t *testing.T, s System) {
			alertOf(t, s, "SeatrialJanitorBlind").Expr = intstr.FromString("time() - janitor_last_seen > 1")
		}},
		{"measured", "alert SeatrialRunFailed: docs/in-cluster.md has no part about it", func(t *testing.T, s System) {
			alertOf(t, s, "SeatrialRunFailed").Annotations["runbook_url"] = "docs/in-cluster.md"
		}},
		{"verifier-flows", "open, and nobody needs it: reports->api-server:6443", func(t *testing.T, s System) {
			policyOf(t, s, "api-server").Spec.PodSelector.MatchExpressions = nil
		}},
		{"verifier-flows", "open, and nobody needs it: stranger->reports:8095", func(t *testing.T, s System) {
			policyOf(t, s, "reports").Spec.Ingress[0].From = nil
			policyOf(t, s, "default-deny").Spec.PolicyTypes = []network.PolicyType{network.PolicyTypeIngress}
		}},
		{"verifier-flows", "open, and nobody needs it: verifier->nats:4222", func(t *testing.T, s System) {
			policyOf(t, s, "verifier").Spec.Egress[0] = network.NetworkPolicyEgressRule{
				To: []network.NetworkPolicyPeer{{NamespaceSelector: policyOf(t, s, "verifier").Spec.Egress[0].To[0].NamespaceSelector}}}
		}},
		{"verifier-flows", "needed, and closed: verifier->alertmanager:9093", func(t *testing.T, s System) {
			p := policyOf(t, s, "verifier")
			p.Spec.Egress = p.Spec.Egress[:3]
		}},
		{"verifier-flows", "needed, and closed: prometheus->janitor:9095", func(t *testing.T, s System) {
			policyOf(t, s, "janitor").Spec.Ingress = nil
		}},
		{"hardening", "CronJob verifier: container prune: the root file system can be written", func(t *testing.T, s System) {
			cron(s).Spec.JobTemplate.Spec.Template.Spec.InitContainers[0].SecurityContext.ReadOnlyRootFilesystem = nil
		}},
		{"security", "Job verifier-run-1: Pod Security: seccompProfile", func(t *testing.T, s System) {
			Of[*batch.Job](s)[0].Spec.Template.Spec.SecurityContext.SeccompProfile = nil
		}},
		{"budgets", "Deployment janitor has 0 disruption budgets", func(t *testing.T, s System) {
			deployment(t, s, "janitor").Spec.Template.Labels["app"] = "sweeper"
		}},
	} {
		t.Run(c.check+"/"+c.want, func(t *testing.T) {
			// What only the other values render is broken there.
			s := verifierSystem(t, strings.Contains(c.want, "verifier-run-1"))
			c.mutate(t, s)
			problems := runCheck(t, c.check, s)
			if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, c.want) }) {
				t.Errorf("the check %s does not say %q, but:\n%s", c.check, c.want, strings.Join(problems, "\n"))
			}
		})
	}
}

// runCheck runs the check of a name, the verifier's or one for every chart.
func runCheck(t *testing.T, name string, s System) []string {
	t.Helper()
	for _, k := range verifierChecks {
		if k.name == name {
			return k.run(s)
		}
	}
	for _, k := range checks {
		if k.name == name {
			return k.run(s)
		}
	}
	t.Fatalf("no check %s", name)
	return nil
}

func alertOf(t *testing.T, s System, name string) *monitoring.Rule {
	t.Helper()
	for _, g := range Of[*monitoring.PrometheusRule](s)[0].Spec.Groups {
		for i := range g.Rules {
			if g.Rules[i].Alert == name {
				return &g.Rules[i]
			}
		}
	}
	t.Fatalf("no alert %s", name)
	return nil
}

// TestEveryVerifierCheckIsTested as for the others.
func TestEveryVerifierCheckIsTested(t *testing.T) {
	text, err := os.ReadFile("verifier_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range verifierChecks {
		if !strings.Contains(string(text), "\t\t{\""+c.name+"\", ") {
			t.Errorf("nothing is broken for the check %s", c.name)
		}
	}
}

// TestVerifierSchemaRefuses: a wrong value is named.
func TestVerifierSchemaRefuses(t *testing.T) {
	for values, want := range map[string]string{
		"suite: {seed: one}":                      "at '/suite/seed': got string, want integer",
		"suite: {args: [run]}":                    "at '/suite/args/0'",
		"suite: {tags: \"@a; rm\"}":               "at '/suite/tags'",
		"schedule: {cron: often}":                 "at '/schedule/cron'",
		"schedule: {policy: Allow}":               "additional properties 'policy' not allowed",
		"pod: {graceSeconds: 5}":                  "minimum: got 5, want 120",
		"janitor: {replicas: 0}":                  "minimum: got 0, want 1",
		"prometheus: http://prometheus:9090":      "at '/prometheus'",
		"persistence: {accessMode: ReadOnlyMany}": "value must be one of 'ReadWriteOnce', 'ReadWriteMany'",
		"networkPolicy: {alertmanager: []}":       "minItems: got 0, want 1",
		"networkPolicy: {apiServer: {ports: []}}": "minItems: got 0, want 1",
		"chaosMesh: {version: newest}":            "at '/chaosMesh/version'",
		"verifier: {}":                            "additional properties 'verifier' not allowed",
		"persistence: {enabled: false}":           "reports.enabled needs persistence.enabled",
	} {
		if _, err := Render("../verifier", []byte(values)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", values, err, want)
		}
	}
}

// TestWithoutAVolume a run keeps its report to itself.
func TestWithoutAVolume(t *testing.T) {
	text, err := Render("../verifier", []byte("persistence: {enabled: false}\nreports: {enabled: false}"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(Of[*core.PersistentVolumeClaim](s)); n != 0 {
		t.Errorf("%d claims", n)
	}
	for _, v := range Of[*batch.CronJob](s)[0].Spec.JobTemplate.Spec.Template.Spec.Volumes {
		if v.Name == "reports" && v.EmptyDir == nil {
			t.Errorf("reports go to %+v", v)
		}
	}
	for _, name := range []string{"security", "hardening", "probes", "rollouts", "services", "budgets", "runs", "rights"} {
		for _, problem := range runCheck(t, name, s) {
			t.Errorf("%s: %s", name, problem)
		}
	}
}

// TestVerifierAlertsRing: promtool judges the alerts over series that it makes.
func TestVerifierAlertsRing(t *testing.T) {
	promtool, err := filepath.Abs(root + "/.deps/bin/promtool")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(promtool); err != nil {
		t.Skipf("no promtool: run make deps (%v)", err)
	}
	dir := t.TempDir()
	rules, err := yaml.Marshal(Of[*monitoring.PrometheusRule](verifierSystem(t, true))[0].Spec)
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile("testdata/verifier.rules.test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"verifier.rules.yaml": rules, "verifier.rules.test.yaml": tests} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"check", "rules", "verifier.rules.yaml"}, {"test", "rules", "verifier.rules.test.yaml"}} {
		cmd := exec.Command(promtool, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v: %s", strings.Join(args, " "), err, out)
		}
	}
}

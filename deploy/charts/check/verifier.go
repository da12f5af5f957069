package check

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

// Runs: a run is held once and never two at a time, ends some day, and has the time to take
// its faults back.
func Runs(s System) []string {
	var problems []string
	say := func(owner, format string, a ...any) {
		problems = append(problems, owner+": "+fmt.Sprintf(format, a...))
	}
	jobs := map[string]batch.JobSpec{}
	for _, j := range Of[*batch.Job](s) {
		jobs["Job "+j.Name] = j.Spec
		if j.Spec.TTLSecondsAfterFinished == nil {
			say("Job "+j.Name, "stays for ever")
		}
	}
	for _, c := range Of[*batch.CronJob](s) {
		owner := "CronJob " + c.Name
		jobs[owner] = c.Spec.JobTemplate.Spec
		if c.Spec.ConcurrencyPolicy != batch.ForbidConcurrent {
			say(owner, "starts a run while another one is held")
		}
		if c.Spec.StartingDeadlineSeconds == nil || c.Spec.SuccessfulJobsHistoryLimit == nil || c.Spec.FailedJobsHistoryLimit == nil || c.Spec.TimeZone == nil {
			say(owner, "leaves open when it starts, by which clock, or what stays of it")
		}
	}
	for _, owner := range slices.Sorted(maps.Keys(jobs)) {
		spec, pod := jobs[owner], jobs[owner].Template.Spec
		if spec.BackoffLimit == nil || *spec.BackoffLimit != 0 || pod.RestartPolicy != core.RestartPolicyNever {
			say(owner, "tries a failed run again, which would hide the result")
		}
		if spec.ActiveDeadlineSeconds == nil {
			say(owner, "has no deadline")
		}
		if g := pod.TerminationGracePeriodSeconds; g == nil || *g < 120 {
			say(owner, "an interrupted run has no time to take its faults back")
		}
	}
	return problems
}

// Rights: each account is used, has only Roles and only what it needs. What the verifier needs
// is what docs/kubernetes.md says; the janitor needs less, and writes events.
func Rights(s System, root string) []string {
	problems := bound(s)
	need, may, err := documented(root)
	if err != nil {
		return append(problems, err.Error())
	}
	have := granted(s, "verifier")
	for r := range need {
		if !have[r] {
			problems = append(problems, "the verifier may not "+r+", which docs/kubernetes.md says that it needs")
		}
	}
	for r := range have {
		if !need[r] && !may[r] {
			problems = append(problems, "the verifier may "+r+", which docs/kubernetes.md does not say that it needs")
		}
	}
	for r := range granted(s, "janitor") {
		if !have[r] && r != "create events in "+Namespace {
			problems = append(problems, "the janitor may "+r+", and the verifier may not")
		}
	}
	if more := granted(s, "reports"); len(more) > 0 {
		problems = append(problems, fmt.Sprintf("reports asks nobody, and may %v", slices.Sorted(maps.Keys(more))))
	}
	slices.Sort(problems)
	return problems
}

// bound looks at the shape of Roles, bindings and tokens.
func bound(s System) []string {
	var problems []string
	if n := len(Of[*rbac.ClusterRole](s)) + len(Of[*rbac.ClusterRoleBinding](s)); n > 0 {
		problems = append(problems, "rights in the whole cluster are not needed")
	}
	for _, r := range Of[*rbac.Role](s) {
		for _, rule := range r.Rules {
			if slices.Contains(slices.Concat(rule.Verbs, rule.Resources, rule.APIGroups), "*") {
				problems = append(problems, fmt.Sprintf("Role %s/%s: a star", r.Namespace, r.Name))
			}
		}
	}
	for _, b := range Of[*rbac.RoleBinding](s) {
		if !slices.ContainsFunc(Of[*rbac.Role](s), func(r *rbac.Role) bool { return r.Name == b.RoleRef.Name && r.Namespace == b.Namespace }) {
			problems = append(problems, fmt.Sprintf("RoleBinding %s/%s binds no Role", b.Namespace, b.Name))
		}
		for _, who := range b.Subjects {
			if !slices.ContainsFunc(Of[*core.ServiceAccount](s), func(a *core.ServiceAccount) bool { return a.Name == who.Name && a.Namespace == who.Namespace }) {
				problems = append(problems, fmt.Sprintf("RoleBinding %s/%s: there is no account %s/%s", b.Namespace, b.Name, who.Namespace, who.Name))
			}
		}
	}
	for _, p := range s.Pods() {
		token := slices.ContainsFunc(p.Spec.Volumes, func(v core.Volume) bool {
			return v.Projected != nil && slices.ContainsFunc(v.Projected.Sources, func(s core.VolumeProjection) bool { return s.ServiceAccountToken != nil })
		})
		if rights := len(granted(s, p.Spec.ServiceAccountName)) > 0; rights != token && len(Of[*rbac.Role](s)) > 0 {
			problems = append(problems, fmt.Sprintf("%s: its account has rights: %v, it has a token: %v", p.Owner, rights, token))
		}
	}
	return problems
}

// granted are the rights of an account, each as "verb resource in namespace".
func granted(s System, account string) map[string]bool {
	all := map[string]bool{}
	for _, b := range Of[*rbac.RoleBinding](s) {
		if !slices.ContainsFunc(b.Subjects, func(who rbac.Subject) bool { return who.Name == account }) {
			continue
		}
		for _, r := range Of[*rbac.Role](s) {
			if r.Name == b.RoleRef.Name && r.Namespace == b.Namespace {
				flatten(all, r.Namespace, r.Rules)
			}
		}
	}
	return all
}

func flatten(to map[string]bool, namespace string, rules []rbac.PolicyRule) {
	for _, rule := range rules {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				to[verb+" "+resource+" in "+namespace] = true
			}
		}
	}
}

var (
	roles     = regexp.MustCompile("(?s)## Rights\n.*?```yaml\n(.*?)```")
	ofWhom    = regexp.MustCompile(`^# namespace of [^:]*: ([a-z-]+)`)
	elsewhere = regexp.MustCompile(`(?m)^.*only for a verifier outside of the cluster`)
)

// documented reads the rights in docs/kubernetes.md: those that a verifier in a pod needs, and
// those that only one outside does.
func documented(root string) (need, may map[string]bool, err error) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "kubernetes.md"))
	if err != nil {
		return nil, nil, err
	}
	block := roles.FindSubmatch(text)
	if block == nil {
		return nil, nil, fmt.Errorf("docs/kubernetes.md shows no Roles below its heading Rights")
	}
	need, may = map[string]bool{}, map[string]bool{}
	for _, doc := range separator.Split(string(block[1]), -1) {
		doc = strings.TrimSpace(doc)
		namespace := ofWhom.FindStringSubmatch(doc)
		if namespace == nil {
			return nil, nil, fmt.Errorf("docs/kubernetes.md does not say of which namespace these rights are: %.60q", doc)
		}
		inside := doc
		if at := elsewhere.FindStringIndex(doc); at != nil {
			inside = doc[:at[0]]
		}
		for to, part := range map[*map[string]bool]string{&need: inside, &may: doc} {
			var role struct{ Rules []rbac.PolicyRule }
			if err := yaml.Unmarshal([]byte(part), &role); err != nil {
				return nil, nil, fmt.Errorf("docs/kubernetes.md: %w", err)
			}
			flatten(*to, namespace[1], role.Rules)
		}
	}
	return need, may, nil
}

// metric finds the names of metrics in PromQL and in Go.
var metric = regexp.MustCompile(`\b(?:seatrial|janitor)_[a-z_]+\b`)

// Measured: an alert about the verifier asks for metrics that it serves, and its runbook is there.
func Measured(s System, root string) []string {
	var served strings.Builder
	for _, file := range []string{"verifier/shelf/metrics.go", "verifier/janitor/health.go"} {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			return []string{err.Error()}
		}
		// The shelf's names are joined with their prefix at one place.
		served.WriteString(strings.ReplaceAll(string(text), `desc("`, `desc("seatrial_`))
	}
	names := metric.FindAllString(served.String(), -1)
	book, err := os.ReadFile(filepath.Join(root, "docs", "in-cluster.md"))
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	for _, r := range Of[*monitoring.PrometheusRule](s) {
		for _, g := range r.Spec.Groups {
			for _, one := range g.Rules {
				for _, name := range metric.FindAllString(one.Expr.String(), -1) {
					if !slices.Contains(names, name) {
						problems = append(problems, fmt.Sprintf("alert %s: nobody serves %s", one.Alert, name))
					}
				}
				if strings.TrimPrefix(one.Annotations["runbook_url"], runbooksOf(r.Spec, "docs/")) != "docs/in-cluster.md#"+strings.ToLower(one.Alert) ||
					!strings.Contains(string(book), "\n### "+one.Alert+"\n") {
					problems = append(problems, fmt.Sprintf("alert %s: docs/in-cluster.md has no part about it, or it does not lead there", one.Alert))
				}
			}
		}
	}
	return problems
}

package check

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	security "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
)

// Security asks the library that the API server asks: every pod must be allowed at level restricted.
func Security(s System) []string {
	judge, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return []string{fmt.Sprintf("set up Pod Security: %v", err)}
	}
	level := security.LevelVersion{Level: security.LevelRestricted, Version: security.LatestVersion()}
	var problems []string
	for _, p := range s.Pods() {
		r := policy.AggregateCheckResults(judge.EvaluatePod(level, p.Meta, p.Spec))
		if !r.Allowed {
			problems = append(problems, fmt.Sprintf("%s: Pod Security: %s", p.Owner, r.ForbiddenDetail()))
		}
	}
	return problems
}

// Hardening is what Pod Security does not ask for.
func Hardening(s System) []string {
	var problems []string
	say := func(p Pod, format string, a ...any) {
		problems = append(problems, p.Owner+": "+fmt.Sprintf(format, a...))
	}
	for _, p := range s.Pods() {
		if p.Spec.AutomountServiceAccountToken == nil || *p.Spec.AutomountServiceAccountToken {
			say(p, "mounts a token that it does not need")
		}
		if p.Spec.EnableServiceLinks == nil || *p.Spec.EnableServiceLinks {
			say(p, "enableServiceLinks is on: a Service called nats would set NATS_PORT, which the start scripts read")
		}
		for _, c := range slices.Concat(p.Spec.InitContainers, p.Spec.Containers) {
			if c.SecurityContext == nil || c.SecurityContext.ReadOnlyRootFilesystem == nil || !*c.SecurityContext.ReadOnlyRootFilesystem {
				say(p, "container %s: the root file system can be written", c.Name)
			}
			if len(c.Command) > 0 {
				say(p, "container %s sets a command, which the image that stands in for it during pod-failure does not have; use args", c.Name)
			}
			if c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() || c.Resources.Limits.Memory().IsZero() {
				say(p, "container %s needs requests for CPU and memory, and a limit on memory", c.Name)
			}
		}
	}
	return problems
}

// Probes: no host, alive is not ready, and being alive depends on nobody else.
func Probes(s System) []string {
	var problems []string
	for _, p := range s.Workloads() {
		ready := 0
		for _, c := range p.Spec.Containers {
			for _, found := range containerProbes(c) {
				problems = append(problems, p.Owner+": container "+c.Name+": "+found)
			}
			if c.ReadinessProbe != nil {
				ready++
			}
		}
		if ready == 0 {
			problems = append(problems, p.Owner+": no container has a readiness probe")
		}
	}
	return problems
}

func containerProbes(c core.Container) []string {
	var problems []string
	for kind, probe := range map[string]*core.Probe{"liveness": c.LivenessProbe, "readiness": c.ReadinessProbe, "startup": c.StartupProbe} {
		if probe == nil {
			continue
		}
		if h := probe.HTTPGet; h != nil && h.Host != "" {
			problems = append(problems, fmt.Sprintf("%s probe asks host %s instead of the pod", kind, h.Host))
		}
		if t := probe.TCPSocket; t != nil && t.Host != "" {
			problems = append(problems, fmt.Sprintf("%s probe asks host %s instead of the pod", kind, t.Host))
		}
		if kind != "readiness" && asksOthers(probe) {
			problems = append(problems, kind+" probe looks at dependencies")
		}
	}
	if c.LivenessProbe == nil {
		return append(problems, "no liveness probe")
	}
	if c.ReadinessProbe != nil && reflect.DeepEqual(c.LivenessProbe.ProbeHandler, c.ReadinessProbe.ProbeHandler) {
		problems = append(problems, "liveness and readiness ask the same")
	}
	return problems
}

// asksOthers knows the questions whose answers depend on other pods: our services'
// readiness, a NATS server's health with its streams, and scripts that are called ready.
func asksOthers(p *core.Probe) bool {
	if p.HTTPGet != nil {
		natsWhole := p.HTTPGet.Port.StrVal == "monitor" && !strings.Contains(p.HTTPGet.Path, "js-enabled-only=true")
		return strings.Contains(p.HTTPGet.Path, "ready") || natsWhole
	}
	return p.Exec != nil && strings.Contains(strings.Join(p.Exec.Command, " "), "ready")
}

// Rollouts: a new version replaces the old one pod by pod, gets stuck if it does not work,
// and lets those who used a pod go elsewhere.
func Rollouts(s System) []string {
	var problems []string
	for _, d := range Of[*apps.Deployment](s) {
		u := d.Spec.Strategy.RollingUpdate
		switch {
		case u == nil || u.MaxUnavailable == nil || u.MaxUnavailable.IntValue() != 0:
			problems = append(problems, "Deployment "+d.Name+": a rollout may take pods away before new ones work")
		case d.Spec.MinReadySeconds < 1:
			problems = append(problems, "Deployment "+d.Name+": no minReadySeconds")
		case d.Spec.ProgressDeadlineSeconds == nil || *d.Spec.ProgressDeadlineSeconds != 120:
			problems = append(problems, "Deployment "+d.Name+": a bad rollout is not called stuck after 120 s")
		}
		for _, c := range d.Spec.Template.Spec.Containers {
			if c.Lifecycle == nil || c.Lifecycle.PreStop == nil || c.Lifecycle.PreStop.Sleep == nil {
				problems = append(problems, "Deployment "+d.Name+": container "+c.Name+" ends before balancers know")
			}
		}
		for _, t := range d.Spec.Template.Spec.TopologySpreadConstraints {
			if len(t.MatchLabelKeys) != 1 || t.MatchLabelKeys[0] != "pod-template-hash" {
				problems = append(problems, "Deployment "+d.Name+": the old version's pods count when the new one's are spread")
			}
		}
	}
	for _, d := range Of[*apps.StatefulSet](s) {
		if d.Spec.PodManagementPolicy != apps.ParallelPodManagement {
			problems = append(problems, "StatefulSet "+d.Name+": its pods wait for one another, and none is ready alone")
		}
	}
	for _, p := range s.Workloads() {
		if len(p.Spec.TopologySpreadConstraints) == 0 {
			problems = append(problems, p.Owner+": its pods are not spread")
		}
	}
	return problems
}

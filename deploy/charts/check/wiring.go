package check

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	scaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	disruption "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Services: each selects pods, and they have the ports it names.
func Services(s System) []string {
	var problems []string
	for _, svc := range Of[*core.Service](s) {
		pods := s.selected(labels.SelectorFromSet(svc.Spec.Selector))
		if len(svc.Spec.Selector) == 0 || len(pods) == 0 {
			problems = append(problems, fmt.Sprintf("Service %s selects no pods", svc.Name))
		}
		for _, p := range pods {
			for _, port := range svc.Spec.Ports {
				if !p.has(port.TargetPort) {
					problems = append(problems, fmt.Sprintf("Service %s: %s has no port %s", svc.Name, p.Owner, port.TargetPort.String()))
				}
			}
		}
	}
	for _, m := range Of[*monitoring.ServiceMonitor](s) {
		problems = append(problems, s.monitored(m)...)
	}
	return problems
}

func (s System) monitored(m *monitoring.ServiceMonitor) []string {
	chosen, err := meta.LabelSelectorAsSelector(&m.Spec.Selector)
	if err != nil {
		return []string{fmt.Sprintf("ServiceMonitor %s: %v", m.Name, err)}
	}
	for _, svc := range Of[*core.Service](s) {
		if !chosen.Matches(labels.Set(svc.Labels)) {
			continue
		}
		for _, e := range m.Spec.Endpoints {
			if !slices.ContainsFunc(svc.Spec.Ports, func(p core.ServicePort) bool { return p.Name == e.Port }) {
				return []string{fmt.Sprintf("ServiceMonitor %s: Service %s has no port %q", m.Name, svc.Name, e.Port)}
			}
		}
		return nil
	}
	return []string{fmt.Sprintf("ServiceMonitor %s selects no Service", m.Name)}
}

// Jobs lists the values that the label "job" gets.
func (s System) Jobs() []string {
	var all []string
	for _, m := range Of[*monitoring.ServiceMonitor](s) {
		for _, svc := range Of[*core.Service](s) {
			if chosen, err := meta.LabelSelectorAsSelector(&m.Spec.Selector); err == nil && chosen.Matches(labels.Set(svc.Labels)) {
				all = append(all, svc.Labels[m.Spec.JobLabel])
			}
		}
	}
	return all
}

func (s System) selected(by labels.Selector) []Pod {
	return slices.DeleteFunc(s.Pods(), func(p Pod) bool { return !by.Matches(labels.Set(p.Meta.Labels)) })
}

func (p Pod) has(port intstr.IntOrString) bool {
	return slices.ContainsFunc(p.Spec.Containers, func(c core.Container) bool {
		return slices.ContainsFunc(c.Ports, func(have core.ContainerPort) bool {
			return have.Name == port.StrVal || port.Type == intstr.Int && have.ContainerPort == port.IntVal
		})
	})
}

// Budgets: exactly one for each workload, and of the right kind.
func Budgets(s System) []string {
	var problems []string
	for _, w := range s.Workloads() {
		var found []*disruption.PodDisruptionBudget
		for _, b := range Of[*disruption.PodDisruptionBudget](s) {
			if chosen, err := meta.LabelSelectorAsSelector(b.Spec.Selector); err == nil && chosen.Matches(labels.Set(w.Meta.Labels)) {
				found = append(found, b)
			}
		}
		if len(found) != 1 {
			problems = append(problems, fmt.Sprintf("%s has %d disruption budgets, want 1", w.Owner, len(found)))
			continue
		}
		spec := found[0].Spec
		if spec.MaxUnavailable == nil || spec.MaxUnavailable.IntValue() != 1 || spec.MinAvailable != nil {
			problems = append(problems, w.Owner+": its disruption budget does not say maxUnavailable: 1")
		}
		if spec.UnhealthyPodEvictionPolicy == nil || *spec.UnhealthyPodEvictionPolicy != disruption.AlwaysAllow {
			problems = append(problems, w.Owner+": its disruption budget lets a broken pod keep a node from being drained")
		}
	}
	return problems
}

// Autoscalers: each scales a Deployment that leaves the number to it, and says how.
func Autoscalers(s System) []string {
	var problems []string
	for _, h := range Of[*scaling.HorizontalPodAutoscaler](s) {
		i := slices.IndexFunc(Of[*apps.Deployment](s), func(d *apps.Deployment) bool { return d.Name == h.Spec.ScaleTargetRef.Name })
		switch {
		case i < 0:
			problems = append(problems, fmt.Sprintf("HorizontalPodAutoscaler %s scales a Deployment that is not there", h.Name))
		case Of[*apps.Deployment](s)[i].Spec.Replicas != nil:
			problems = append(problems, fmt.Sprintf("Deployment %s sets replicas, which an upgrade would put back each time", h.Name))
		}
		if b := h.Spec.Behavior; b == nil || b.ScaleUp == nil || b.ScaleDown == nil {
			problems = append(problems, fmt.Sprintf("HorizontalPodAutoscaler %s does not say how to go up and down", h.Name))
		}
	}
	return problems
}

// dialled finds the hosts of a list of peers, URLs or addresses.
var dialled = regexp.MustCompile(`([a-z]+)-([0-9]+)\.([a-z]+)\b`)

// Addresses: every pod name that a setting dials is one of a StatefulSet's, behind a headless
// Service that tells addresses before pods are ready.
func Addresses(s System) []string {
	var problems []string
	for where, text := range s.settings() {
		for _, m := range dialled.FindAllStringSubmatch(text, -1) {
			n, _ := strconv.Atoi(m[2])
			sets := Of[*apps.StatefulSet](s)
			if !slices.ContainsFunc(sets, func(d *apps.StatefulSet) bool {
				return d.Name == m[1] && d.Spec.ServiceName == m[3] && d.Spec.Replicas != nil && n < int(*d.Spec.Replicas)
			}) {
				problems = append(problems, fmt.Sprintf("%s dials %s, which no StatefulSet makes", where, m[0]))
			}
			if !slices.ContainsFunc(Of[*core.Service](s), func(svc *core.Service) bool {
				return svc.Name == m[3] && svc.Spec.ClusterIP == core.ClusterIPNone && svc.Spec.PublishNotReadyAddresses
			}) {
				problems = append(problems, fmt.Sprintf("%s dials %s, which has no address before it is ready", where, m[0]))
			}
		}
	}
	slices.Sort(problems)
	return slices.Compact(problems)
}

// settings are the texts that may name others: environment and SEATRIAL_ settings.
func (s System) settings() map[string]string {
	all := map[string]string{}
	for _, p := range s.Pods() {
		for _, c := range p.Spec.Containers {
			for _, e := range c.Env {
				all[p.Owner+": "+c.Name+": "+e.Name] = e.Value
			}
		}
	}
	for _, c := range Of[*core.ConfigMap](s) {
		for k, v := range c.Data {
			if environment.MatchString(k) {
				all["ConfigMap "+c.Name+": "+k] = v
			}
		}
	}
	return all
}

var environment = regexp.MustCompile(`^SEATRIAL_[A-Z_]+$`)

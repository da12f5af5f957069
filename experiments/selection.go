package experiments

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// Pod is what a selector can ask about a pod.
type Pod struct {
	Name, Namespace     string
	Labels, Annotations map[string]string
	Phase               string // Pending, Running, Succeeded, Failed or Unknown
	Node                string
	IP                  netip.Addr
	Containers          []string // names, in the order of the pod's spec
}

// Select returns the pods that a selector matches, sorted by namespace and
// name, with Chaos Mesh's meaning: all conditions must hold; where `pods` is
// given, it alone counts, and names without a pod are passed over; phases are
// alternatives, and "!Running" excludes. No match is an empty result. The error
// names what is malformed or cannot be known from a Pod.
func Select(sel v1alpha1.PodSelectorSpec, pods []Pod) ([]Pod, error) {
	match, err := compile(sel)
	if err != nil {
		return nil, err
	}
	if len(sel.NodeSelectors) > 0 {
		return nil, errors.New("nodeSelectors: labels of nodes are not known here; use nodes, or labelSelectors")
	}
	var chosen []Pod
	for _, p := range pods {
		if match(p) {
			chosen = append(chosen, p)
		}
	}
	slices.SortFunc(chosen, byName)
	return slices.CompactFunc(chosen, same), nil
}

func byName(a, b Pod) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

func same(a, b Pod) bool { return byName(a, b) == 0 }

// compile turns a selector into a question about a pod.
func compile(sel v1alpha1.PodSelectorSpec) (func(Pod) bool, error) {
	if len(sel.Pods) > 0 {
		return func(p Pod) bool { return slices.Contains(sel.Pods[p.Namespace], p.Name) }, nil
	}
	byLabel, err := metav1.LabelSelectorAsSelector(&metav1.LabelSelector{
		MatchLabels: sel.LabelSelectors, MatchExpressions: sel.ExpressionSelectors,
	})
	if err != nil {
		return nil, fmt.Errorf("labelSelectors and expressionSelectors: %w", err)
	}
	byAnnotation, err := metav1.LabelSelectorAsSelector(&metav1.LabelSelector{MatchLabels: sel.AnnotationSelectors})
	if err != nil {
		return nil, fmt.Errorf("annotationSelectors: %w", err)
	}
	byPhase, err := compilePhases(sel.PodPhaseSelectors)
	if err != nil {
		return nil, err
	}
	byField, err := compileFields(sel.FieldSelectors)
	if err != nil {
		return nil, err
	}
	return func(p Pod) bool {
		return (len(sel.Namespaces) == 0 || slices.Contains(sel.Namespaces, p.Namespace)) &&
			(len(sel.Nodes) == 0 || slices.Contains(sel.Nodes, p.Node)) &&
			byLabel.Matches(labels.Set(p.Labels)) && byAnnotation.Matches(labels.Set(p.Annotations)) &&
			byPhase(p) && byField(p)
	}, nil
}

var phases = []string{"Pending", "Running", "Succeeded", "Failed", "Unknown"}

func compilePhases(selectors []string) (func(Pod) bool, error) {
	wrong := fmt.Errorf("podPhaseSelectors: %q; want some of %s, or with ! those that are not wanted",
		selectors, strings.Join(phases, ", "))
	parsed, err := labels.Parse(strings.Join(selectors, ","))
	if err != nil {
		return nil, wrong
	}
	var wanted, unwanted []string
	requirements, _ := parsed.Requirements()
	for _, r := range requirements {
		if !slices.Contains(phases, r.Key()) {
			return nil, wrong
		}
		switch r.Operator() {
		case selection.Exists:
			wanted = append(wanted, r.Key())
		case selection.DoesNotExist:
			unwanted = append(unwanted, r.Key())
		default:
			return nil, wrong
		}
	}
	return func(p Pod) bool {
		return (len(wanted) == 0 || slices.Contains(wanted, p.Phase)) && !slices.Contains(unwanted, p.Phase)
	}, nil
}

// podFields are the fields that a Pod of ours can answer for. Kubernetes knows
// spec.restartPolicy, spec.schedulerName and spec.serviceAccountName besides.
var podFields = map[string]func(Pod) string{
	"metadata.name":      func(p Pod) string { return p.Name },
	"metadata.namespace": func(p Pod) string { return p.Namespace },
	"spec.nodeName":      func(p Pod) string { return p.Node },
	"status.phase":       func(p Pod) string { return p.Phase },
	"status.podIP": func(p Pod) string {
		if !p.IP.IsValid() {
			return ""
		}
		return p.IP.String()
	},
}

func compileFields(selectors map[string]string) (func(Pod) bool, error) {
	for name := range selectors {
		if podFields[name] == nil {
			return nil, fmt.Errorf("fieldSelectors: %q is not known here; want metadata.name, metadata.namespace, spec.nodeName, status.phase or status.podIP", name)
		}
	}
	return func(p Pod) bool {
		for name, want := range selectors {
			if podFields[name](p) != want {
				return false
			}
		}
		return true
	}, nil
}

// Pick draws from the selected pods as mode and value say: one, all, fixed (a
// number; all when there are fewer), fixed-percent (rounded down) or
// random-max-percent (a share drawn from 0 to value, rounded down). The same
// pods and the same state of rng give the same draw; the result is sorted. A
// draw of no pod is an error: a fault without a victim is none.
func Pick(mode, value string, pods []Pod, rng *rand.Rand) ([]Pod, error) {
	if len(pods) == 0 {
		return nil, errors.New("the selector matches no pod")
	}
	n, err := count(mode, value, len(pods), rng)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, fmt.Errorf("mode %s with value %q is none of %d pods", mode, value, len(pods))
	}
	pods = slices.SortedFunc(slices.Values(pods), byName)
	if n == len(pods) {
		return pods, nil
	}
	drawn := make([]Pod, 0, n)
	for _, i := range rng.Perm(len(pods))[:n] {
		drawn = append(drawn, pods[i])
	}
	slices.SortFunc(drawn, byName)
	return drawn, nil
}

// count is how many of the given number of pods a mode draws.
func count(mode, value string, of int, rng *rand.Rand) (int, error) {
	if err := checkMode(mode, value); err != nil {
		return 0, err
	}
	number, _ := strconv.Atoi(value)
	switch v1alpha1.SelectorMode(mode) {
	case v1alpha1.OneMode:
		return 1, nil
	case v1alpha1.AllMode:
		return of, nil
	case v1alpha1.FixedMode:
		return min(number, of), nil
	case v1alpha1.RandomMaxPercentMode:
		number = rng.IntN(number + 1)
	}
	return of * number / 100, nil
}

// checkMode says what is wrong with a mode and its value.
func checkMode(mode, value string) error {
	number, err := strconv.Atoi(value)
	switch v1alpha1.SelectorMode(mode) {
	case v1alpha1.OneMode, v1alpha1.AllMode:
		if value != "" {
			return fmt.Errorf("value %q has no meaning with mode %s; remove it", value, mode)
		}
	case v1alpha1.FixedMode:
		if err != nil || number <= 0 {
			return fmt.Errorf("value %q: mode fixed wants a number of pods, at least 1, in quotes", value)
		}
	case v1alpha1.FixedPercentMode, v1alpha1.RandomMaxPercentMode:
		if err != nil || number <= 0 || number > 100 {
			return fmt.Errorf("value %q: mode %s wants a percentage from 1 to 100, in quotes", value, mode)
		}
	default:
		return fmt.Errorf("mode %q; want one, all, fixed, fixed-percent or random-max-percent", mode)
	}
	return nil
}

// ContainersOf returns the containers of a pod that a selector means: those
// named that the pod has, in its order, or the first one when none is named.
func ContainersOf(sel v1alpha1.ContainerSelector, pod Pod) []string {
	if len(sel.ContainerNames) == 0 {
		return slices.Clone(pod.Containers[:min(1, len(pod.Containers))])
	}
	var found []string
	for _, c := range pod.Containers {
		if slices.Contains(sel.ContainerNames, c) {
			found = append(found, c)
		}
	}
	return found
}

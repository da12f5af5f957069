package experiments

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Resolution is an Experiment whose pods have been drawn. It is what a testbed
// carries out, and what Evidence keeps: Chaos Mesh itself draws from
// crypto/rand, which nobody can replay.
type Resolution struct {
	// Victims are the pods that the experiment is about, sorted; empty for a
	// kind that selects no pods (a cloud's machines, a Schedule).
	Victims []Pod
	// Targets are the other side of a NetworkChaos, sorted; nil without one.
	Targets []Pod
	// Object is a copy of the experiment's object that names exactly these pods
	// (selector.pods, mode all): fit to be sent to a cluster.
	Object client.Object
}

// Resolve draws the pods of an experiment out of all pods there are. named are
// the pods that the Victims query returned; they narrow what the selector
// matches before the mode draws from it, and are passed over for an experiment
// without such a query. Victims are never their own target: no pod can be cut
// off from itself.
func (e *Experiment) Resolve(pods []Pod, named []string, rng *rand.Rand) (*Resolution, error) {
	r := &Resolution{Object: e.Object.DeepCopyObject().(client.Object)}
	selectors, err := podSelectors(r.Object)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", e.Name, err)
	}
	for _, s := range selectors {
		candidates, err := Select(s.Selector, pods)
		switch {
		case err != nil:
		case s.path == pathTarget:
			candidates = slices.DeleteFunc(candidates, func(p Pod) bool { return slices.ContainsFunc(r.Victims, func(v Pod) bool { return same(p, v) }) })
		case e.Victims != "":
			candidates, err = narrow(candidates, named)
		}
		if err != nil {
			return nil, fmt.Errorf("resolve %s: %s.selector: %w", e.Name, s.path, err)
		}
		drawn, err := Pick(string(s.Mode), s.Value, candidates, rng)
		if err != nil {
			return nil, fmt.Errorf("resolve %s: %s: %w", e.Name, s.path, err)
		}
		if s.path == pathTarget {
			r.Targets = drawn
		} else {
			r.Victims = drawn
		}
		pin(s.PodSelector, drawn)
	}
	return r, nil
}

// VictimNames are the names of the victims, as Signature wants them.
func (r *Resolution) VictimNames() []string {
	names := make([]string, len(r.Victims))
	for i, v := range r.Victims {
		names[i] = v.Name
	}
	return names
}

// narrow keeps the candidates that are named.
func narrow(candidates []Pod, named []string) ([]Pod, error) {
	kept := slices.DeleteFunc(slices.Clone(candidates), func(p Pod) bool { return !slices.Contains(named, p.Name) })
	if len(kept) > 0 || len(candidates) == 0 {
		return kept, nil
	}
	matched := make([]string, len(candidates))
	for i, c := range candidates {
		matched[i] = c.Name
	}
	if len(named) == 0 {
		return nil, fmt.Errorf("the query in %s named no pod; the selector matches %s", annotationVictims, strings.Join(matched, ", "))
	}
	return nil, fmt.Errorf("the query in %s named %s, none of which the selector matches: %s",
		annotationVictims, strings.Join(named, ", "), strings.Join(matched, ", "))
}

// pin makes a selector mean exactly these pods.
func pin(s *v1alpha1.PodSelector, pods []Pod) {
	byNamespace := map[string][]string{}
	var namespaces []string
	for _, p := range pods {
		if byNamespace[p.Namespace] == nil {
			namespaces = append(namespaces, p.Namespace)
		}
		byNamespace[p.Namespace] = append(byNamespace[p.Namespace], p.Name)
	}
	s.Mode, s.Value = v1alpha1.AllMode, ""
	s.Selector = v1alpha1.PodSelectorSpec{Pods: byNamespace}
	// Chaos Mesh's webhook checks permissions by these.
	s.Selector.Namespaces = namespaces
}

const (
	pathVictims = "spec"
	pathTarget  = "spec.target"
)

// placedSelector is a selector of an object, and where it stands.
type placedSelector struct {
	*v1alpha1.PodSelector
	path string
}

// podSelectors returns the selectors of an object that select pods, the one of
// the victims first. They point into obj.
func podSelectors(obj client.Object) ([]placedSelector, error) {
	selecting, ok := obj.(v1alpha1.InnerObjectWithSelector)
	if !ok {
		return nil, nil
	}
	places := map[string]string{".": pathVictims, ".Target": pathTarget}
	var found []placedSelector
	for key, sel := range selecting.GetSelectorSpecs() {
		place, ok := places[key]
		var pods *v1alpha1.PodSelector
		switch sel := sel.(type) {
		case *v1alpha1.PodSelector:
			pods = sel
		case *v1alpha1.ContainerSelector:
			pods = &sel.PodSelector
		default:
			continue
		}
		if !ok {
			return nil, errors.New("selects pods in an unknown place, " + key)
		}
		found = append(found, placedSelector{pods, place})
	}
	slices.SortFunc(found, func(a, b placedSelector) int { return strings.Compare(a.path, b.path) })
	return found, nil
}

// Link is one direction of traffic between two pods. A zero Pod (without a
// name) stands for everyone else.
type Link struct{ From, To Pod }

// Links returns the links that a NetworkChaos impairs, by its direction: "to"
// is what the victims send to the targets, "from" what they receive of them,
// "both" is both. Without a target the other side is everyone.
func (r *Resolution) Links() ([]Link, error) {
	chaos, ok := r.Object.(*v1alpha1.NetworkChaos)
	if !ok {
		return nil, fmt.Errorf("links of %s: only a NetworkChaos impairs links, not a %T", r.Object.GetName(), r.Object)
	}
	if len(chaos.Spec.ExternalTargets) > 0 {
		return nil, fmt.Errorf("links of %s: spec.externalTargets %q are outside of all pods", chaos.Name, chaos.Spec.ExternalTargets)
	}
	others := r.Targets
	if chaos.Spec.Target == nil {
		others = []Pod{{}}
	}
	direction := chaos.Spec.Direction
	var links []Link
	for _, v := range r.Victims {
		for _, o := range others {
			if direction != v1alpha1.From {
				links = append(links, Link{From: v, To: o})
			}
			if direction == v1alpha1.From || direction == v1alpha1.Both {
				links = append(links, Link{From: o, To: v})
			}
		}
	}
	return links, nil
}

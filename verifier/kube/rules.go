package kube

import (
	"context"
	"fmt"
	"slices"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"seatrial/experiments"
)

// Chaos Mesh keeps what is in force in a pod's network in a PodNetworkChaos of the
// pod's name, with rules that name their experiment as namespace/name.

// sourceOf is how rules name an experiment.
func sourceOf(object client.Object) string { return object.GetNamespace() + "/" + object.GetName() }

// podRules reads the PodNetworkChaos of every pod that a round touches.
func (t *Testbed) podRules(ctx context.Context, r *round) ([]*v1alpha1.PodNetworkChaos, error) {
	if _, ok := r.resolution.Object.(*v1alpha1.NetworkChaos); !ok {
		return nil, nil
	}
	var all []*v1alpha1.PodNetworkChaos
	for _, p := range touched(r.resolution) {
		rules := &v1alpha1.PodNetworkChaos{}
		switch err := t.client.Get(ctx, client.ObjectKey{Namespace: p.Namespace, Name: p.Name}, rules); {
		case apierrors.IsNotFound(err):
		case err != nil:
			return nil, fmt.Errorf("read the network rules of pod %s: %w", p.Name, err)
		default:
			all = append(all, rules)
		}
	}
	return all, nil
}

func touched(r *experiments.Resolution) []experiments.Pod { return slices.Concat(r.Victims, r.Targets) }

// ruleFailures are Chaos Mesh's messages about rules of a round that could not be
// set in a pod.
func (t *Testbed) ruleFailures(ctx context.Context, r *round) []string {
	rules, err := t.podRules(ctx, r)
	if err != nil {
		return nil // the message is for the reader; without it the injection has failed all the same
	}
	var all []string
	for _, p := range rules {
		// What it says of rules before these ones is no message about them.
		if p.Status.FailedMessage != "" && p.Status.ObservedGeneration >= p.Generation && len(sources(p, sourceOf(r.seen()))) > 0 {
			all = append(all, oneLine(p.Status.FailedMessage))
		}
	}
	return unique(all)
}

// release helps Chaos Mesh to let go of a NetworkChaos whose rules it cannot set.
// It would try to set them for ever, also when the object is deleted, since it takes
// back only what it has injected. With the rules taken out of the pods' list by hand,
// it finds nothing left to do, calls that injected, and takes it back. The other way
// would be force, and a restart of the victims.
func (f *Fault) release(ctx context.Context, r *round) error {
	object := blank(r.seen())
	if err := f.bed.client.Delete(ctx, object); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete %s: %w", nameOf(object), err)
	}
	return f.loosen(ctx, r)
}

// loosen takes the rules of a round that failed out of the pods. Those of a pod that Chaos
// Mesh has not come to yet may fail later, so it is done until the object is gone.
func (f *Fault) loosen(ctx context.Context, r *round) error {
	object := r.seen()
	rules, err := f.bed.podRules(ctx, r)
	if err != nil {
		return err
	}
	for _, p := range rules {
		if p.Status.FailedMessage == "" || len(sources(p, sourceOf(object))) == 0 {
			continue
		}
		fixed := p.DeepCopy()
		without(fixed, sourceOf(object))
		err := f.bed.client.Patch(ctx, fixed, client.MergeFromWithOptions(p, client.MergeFromWithOptimisticLock{}))
		// A conflict is Chaos Mesh's own change; what is stuck then, cleanup forces.
		if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
			return fmt.Errorf("take the rules that failed out of pod %s: %w", p.Name, err)
		}
	}
	return nil
}

// residue says what is left of a round.
func (t *Testbed) residue(ctx context.Context, r *round) ([]string, error) {
	object := blank(r.seen())
	var left []string
	switch err := t.client.Get(ctx, client.ObjectKeyFromObject(object), object); {
	case err == nil:
		left = append(left, fmt.Sprintf("%s is still there, with the finalizers %q", nameOf(object), object.GetFinalizers()))
	case !apierrors.IsNotFound(err):
		return nil, fmt.Errorf("look for %s: %w", nameOf(object), err)
	}
	rules, err := t.podRules(ctx, r)
	if err != nil {
		return nil, err
	}
	for _, p := range rules {
		for _, what := range sources(p, sourceOf(object)) {
			left = append(left, fmt.Sprintf("pod %s still has the %s", p.Name, what))
		}
	}
	pods, err := t.pods(ctx)
	if err != nil {
		return nil, err
	}
	return append(left, marks(pods, r.resolution.VictimNames(), object.GetName())...), nil
}

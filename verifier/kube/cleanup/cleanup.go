// Package cleanup removes an Experiment from a cluster, whatever it takes. Chaos
// Mesh takes a fault back before it lets the object go; when it cannot, the object
// stays for ever, and so may the fault. Then the victims are restarted and the
// object is let go by force.
//
// It must not know of runs, leases or trials, nor when an Experiment is to go.
package cleanup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Finalizer is how Chaos Mesh keeps an object until its fault is taken back.
const Finalizer = "chaos-mesh/records"

// Grace is what a victim that is restarted by force is given to end.
const Grace = 2 * time.Second

// settle is the patience, after force, until object and old victims are gone.
const settle = 20 * time.Second

// lookEvery is the time between two looks at what is to go.
const lookEvery = 250 * time.Millisecond

// Removal says how an Experiment went.
type Removal struct {
	// Gone says that the object was not there any more when it was to be deleted.
	Gone bool
	// Deleted says that this call was the one that deleted it; else somebody else had
	// before, and this call saw to it that it went.
	Deleted bool
	// Forced says that Chaos Mesh did not let it go, and that this package did.
	Forced bool
	// Restarted are the victims that were deleted, to be made anew by their
	// controllers: namespace/name, sorted. Only with Forced.
	Restarted []string
}

// Remove deletes the Experiment obj, any kind of Chaos Mesh's, of which name,
// namespace and, if set, UID count, and waits until it is gone. After patience it
// uses force: it restarts the victims that may still have the fault, deletes what
// Chaos Mesh keeps about them, removes the finalizer, and looks until nothing is
// left. Called again, or by two at once, it does only what is left to do. The error
// names what could not be done or what is left; Removal is filled in as far as it
// came. c must read from the API server itself, not from a cache.
func Remove(ctx context.Context, c client.Client, obj client.Object, patience time.Duration) (Removal, error) {
	r := &remover{client: c, obj: obj.DeepCopyObject().(client.Object), uid: obj.GetUID()}
	if err := r.remove(ctx, patience); err != nil {
		return r.done, fmt.Errorf("remove %s: %w", r, err)
	}
	return r.done, nil
}

// remover removes one object.
type remover struct {
	client client.Client
	obj    client.Object // as last read
	uid    types.UID     // "" until it is known
	done   Removal
}

func (r *remover) String() string {
	return fmt.Sprintf("%s %s/%s", kindOf(r.obj), r.obj.GetNamespace(), r.obj.GetName())
}

func (r *remover) remove(ctx context.Context, patience time.Duration) error {
	there, err := r.read(ctx)
	if err != nil {
		return err
	}
	if !there {
		r.done.Gone = true
		return nil
	}
	first := r.obj.GetDeletionTimestamp() == nil
	err = r.client.Delete(ctx, r.obj, client.Preconditions{UID: &r.uid})
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	r.done.Deleted = first && err == nil
	gone, err := r.wait(ctx, patience, r.isGone)
	if err != nil || gone {
		return err
	}
	return r.force(ctx)
}

// read reads the object anew and tells whether it is there; one of the same name
// that was made later is not it.
func (r *remover) read(ctx context.Context) (there bool, err error) {
	found := r.obj.DeepCopyObject().(client.Object)
	err = r.client.Get(ctx, client.ObjectKeyFromObject(r.obj), found)
	if apierrors.IsNotFound(err) || err == nil && r.uid != "" && found.GetUID() != r.uid {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	r.obj, r.uid = found, found.GetUID()
	return true, nil
}

func (r *remover) isGone(ctx context.Context) (bool, error) {
	there, err := r.read(ctx)
	return !there, err
}

// wait asks until done says yes, or patience is over. An API server that does not
// answer is asked again; its error counts when it is the last.
func (r *remover) wait(ctx context.Context, patience time.Duration, done func(context.Context) (bool, error)) (bool, error) {
	deadline := time.Now().Add(patience)
	for {
		yes, err := done(ctx)
		if err == nil && yes {
			return true, nil
		}
		if !time.Now().Before(deadline) {
			return false, err
		}
		select {
		case <-ctx.Done():
			return false, errors.Join(context.Cause(ctx), err)
		case <-time.After(lookEvery):
		}
	}
}

// force takes the fault away with its victims. They go before the finalizer does:
// the object is the only list of them, and must be there for who tries again when
// this process dies in between.
func (r *remover) force(ctx context.Context) error {
	there, err := r.read(ctx)
	if err != nil || !there {
		return err
	}
	r.done.Forced = true
	found, err := r.victims(ctx)
	if err != nil {
		return err
	}
	var stuck []error
	for _, pod := range found {
		stuck = append(stuck, r.restart(ctx, pod))
	}
	if err := errors.Join(stuck...); err != nil {
		return err // and the object stays, to tell of it
	}
	if err := r.letGo(ctx); err != nil {
		return err
	}
	var left error
	_, err = r.wait(ctx, settle, func(ctx context.Context) (bool, error) {
		left = r.left(ctx, found)
		return left == nil, nil
	})
	return errors.Join(err, left)
}

// victims reads the pods that may still have the fault. Records that name no pod
// (machines, clouds) are an error: nothing here can undo those.
func (r *remover) victims(ctx context.Context) ([]core.Pod, error) {
	stateful, ok := r.obj.(v1alpha1.StatefulObject)
	if !ok {
		return nil, nil // a Schedule or a Workflow has no victims; what it made goes with it
	}
	var pods []core.Pod
	for _, s := range suspects(stateful.GetStatus().Experiment.Records) {
		if !namesPods(r.obj) {
			return nil, fmt.Errorf("its fault on %s is not taken back, and only Chaos Mesh can do that", s.id)
		}
		key, err := podOf(s.id)
		if err != nil {
			return nil, err
		}
		var pod core.Pod
		err = r.client.Get(ctx, key, &pod)
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return nil, fmt.Errorf("read victim %s: %w", key, err)
		case s.mayHave(pod.CreationTimestamp.Time) && !slices.ContainsFunc(pods, func(p core.Pod) bool { return client.ObjectKeyFromObject(&p) == key }):
			pods = append(pods, pod)
		}
	}
	return pods, nil
}

// restart deletes a victim, and what Chaos Mesh keeps about it: the pod that comes
// in its place may have its name, and would get the rules of the old one.
func (r *remover) restart(ctx context.Context, pod core.Pod) error {
	name := client.ObjectKeyFromObject(&pod).String()
	if !slices.ContainsFunc(pod.OwnerReferences, isController) {
		return fmt.Errorf("victim %s still has the fault and no controller that would make it anew: it is left alone", name)
	}
	for _, rules := range rulesOf(client.ObjectKeyFromObject(&pod)) {
		if err := ignoreAbsent(r.client.Delete(ctx, rules)); err != nil {
			return fmt.Errorf("delete %s %s: %w", kindOf(rules), name, err)
		}
	}
	grace := client.GracePeriodSeconds(Grace / time.Second)
	err := r.client.Delete(ctx, &pod, grace, client.Preconditions{UID: &pod.UID})
	if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
		return fmt.Errorf("restart victim %s: %w", name, err)
	}
	if err == nil {
		r.done.Restarted = append(r.done.Restarted, name)
		slices.Sort(r.done.Restarted)
		r.done.Restarted = slices.Compact(r.done.Restarted)
	}
	return nil
}

// letGo removes Chaos Mesh's finalizer, and only over the finalizers that it read.
func (r *remover) letGo(ctx context.Context) error {
	for {
		there, err := r.read(ctx)
		if err != nil || !there {
			return err
		}
		patch, needed := withoutFinalizer(r.obj.GetFinalizers())
		if !needed {
			return nil
		}
		err = r.client.Patch(ctx, r.obj, client.RawPatch(types.JSONPatchType, patch))
		switch {
		case client.IgnoreNotFound(err) == nil:
			return nil
		case apierrors.IsInvalid(err), apierrors.IsConflict(err): // the test found others: look again
		default:
			return fmt.Errorf("remove the finalizer %s: %w", Finalizer, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(lookEvery):
		}
	}
}

// withoutFinalizer is the JSON patch from these finalizers to those without Chaos
// Mesh's, and whether there is something to remove.
func withoutFinalizer(have []string) (patch []byte, needed bool) {
	keep := slices.DeleteFunc(slices.Clone(have), func(s string) bool { return s == Finalizer })
	if len(keep) == len(have) {
		return nil, false
	}
	type op struct {
		Op    string   `json:"op"`
		Path  string   `json:"path"`
		Value []string `json:"value"`
	}
	const path = "/metadata/finalizers"
	patch, _ = json.Marshal([]op{{"test", path, have}, {"replace", path, keep}}) // strings always encode
	return patch, true
}

// left names what is not gone yet, of the object, the old victims and the rules
// about them.
func (r *remover) left(ctx context.Context, victims []core.Pod) error {
	var left []error
	switch there, err := r.read(ctx); {
	case err != nil:
		left = append(left, err)
	case there:
		left = append(left, fmt.Errorf("it is still there, with the finalizers %q", r.obj.GetFinalizers()))
	}
	for _, old := range victims {
		var pod core.Pod
		err := r.client.Get(ctx, client.ObjectKeyFromObject(&old), &pod)
		switch {
		case err == nil && pod.UID == old.UID:
			left = append(left, fmt.Errorf("victim %s/%s has not ended", pod.Namespace, pod.Name))
		case client.IgnoreNotFound(err) != nil:
			left = append(left, err)
		}
		left = append(left, r.leftRules(ctx, client.ObjectKeyFromObject(&old)))
	}
	return errors.Join(left...)
}

// leftRules deletes rules about a pod that came from this Experiment, which Chaos
// Mesh may have written again meanwhile, and names them.
func (r *remover) leftRules(ctx context.Context, pod types.NamespacedName) error {
	for _, rules := range rulesOf(pod) {
		err := r.client.Get(ctx, pod, rules)
		if ignoreAbsent(err) != nil {
			return err
		}
		if err != nil || !mentions(rules, r.obj) {
			continue
		}
		err = r.client.Delete(ctx, rules)
		return errors.Join(fmt.Errorf("%s %s still has its rules", kindOf(rules), pod), ignoreAbsent(err))
	}
	return nil
}

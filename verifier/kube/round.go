package kube

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"seatrial/experiments"
	"seatrial/verifier/kube/cleanup"
)

// Deadlines of one round.
const (
	// injectWithin is for Chaos Mesh to inject: it tries again and again, and what fails for so long will not succeed. It starts
	// some fifteen programs a pod, one pod after the other: on two slow processors under load three pods took more than 20 s.
	injectWithin = 60 * time.Second
	// recoverWithin is for Chaos Mesh to take a fault back before force is used.
	recoverWithin = 20 * time.Second
	// takeBackWithin is for both, and for what force takes.
	takeBackWithin = 55 * time.Second
	lookEvery      = 200 * time.Millisecond
	// askEvery is the time between two questions why a fault is not in force yet.
	askEvery = 2 * time.Second
)

// round is one injection of a fault.
type round struct {
	resolution *experiments.Resolution

	mu      sync.Mutex
	object  client.Object   // as it is to be, or as last seen
	sent    bool            // to the cluster, whatever was answered
	told    string          // Chaos Mesh's progress when it was last seen in force, or on the way
	undone  bool            // Chaos Mesh's records said that all of it was taken back
	before  map[string]life // of the pods that it touches
	after   map[string]life // the same when it began to be taken back
	removal cleanup.Removal
	gone    bool
}

func (r *round) seen() client.Object {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.object
}

func (r *round) see(object client.Object) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.object = object
	r.undone = r.undone || recovered(statusOf(object))
	if object.GetDeletionTimestamp() == nil && !r.undone {
		r.told = progress(statusOf(object))
	}
}

func (r *round) account(oneShot bool) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.sent {
		return ""
	}
	parts := []string{r.told}
	if r.undone && !oneShot {
		parts = append(parts, "and taken back")
	}
	if changed := changes(r.before, r.after); r.after != nil && len(changed) > 0 {
		what := "while it was in force: "
		if oneShot {
			what = ""
		}
		parts = append(parts, what+strings.Join(changed, ", "))
	}
	if r.removal.Forced {
		parts = append(parts, "Chaos Mesh did not take it back: removed by force"+restarted(r.removal.Restarted))
	}
	return account(parts...)
}

// watched are the names of the pods that the round touches.
func (r *round) watched() []string {
	var names []string
	for _, p := range touched(r.resolution) {
		names = append(names, p.Name)
	}
	return unique(names)
}

// snapshots are the lives of those pods before and after; after is nil while it is in force.
func (r *round) snapshots() (before, after map[string]life) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.before, r.after
}

func restarted(pods []string) string {
	if len(pods) == 0 {
		return ""
	}
	return ", restarted " + strings.Join(pods, ", ")
}

// statusOf is what Chaos Mesh says of an object.
func statusOf(object client.Object) *v1alpha1.ChaosStatus {
	if s, ok := object.(v1alpha1.StatefulObject); ok {
		return s.GetStatus()
	}
	return &v1alpha1.ChaosStatus{}
}

// inject sends a round's object to the cluster and waits until it is in force.
func (f *Fault) inject(ctx context.Context, r *round) error {
	pods, err := f.bed.pods(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.before, r.sent = lives(pods, r.watched()), true
	object := r.object.DeepCopyObject().(client.Object)
	r.mu.Unlock()
	if err := f.bed.client.Create(ctx, object); err != nil {
		return fmt.Errorf("create %s: %w", nameOf(object), err)
	}
	return f.await(ctx, r)
}

// await waits until a round is in force. It gives up when its time is over, and before
// when the kernel turns out to lack what it takes.
func (f *Fault) await(ctx context.Context, r *round) error {
	begun := time.Now()
	asked := begun
	for {
		err := f.look(ctx, r)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return errors.Join(err, context.Cause(ctx))
		case time.Since(begun) > f.bed.injectWithin:
			return f.why(r, err, begun, f.said(ctx, r, begun))
		case discipline(r.resolution) != "" && time.Since(asked) > askEvery:
			if said := f.said(ctx, r, begun); slices.ContainsFunc(said, beyondKernel) {
				return f.why(r, err, begun, said)
			}
			asked = time.Now()
		}
		select {
		case <-ctx.Done():
		case <-time.After(lookEvery):
		}
	}
}

// look returns nil when a round is in force.
func (f *Fault) look(ctx context.Context, r *round) error {
	object := blank(r.seen())
	if err := f.bed.client.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
		return fmt.Errorf("look at %s: %w", nameOf(object), err)
	}
	r.see(object)
	if inForce(statusOf(object)) {
		return nil
	}
	if f.exp.OneShot {
		pods, err := f.bed.pods(ctx)
		if err == nil && struck(r.before, lives(pods, r.watched())) {
			return nil
		}
	}
	return errors.New(progress(statusOf(object)))
}

// blank is an empty object of the same kind and name.
func blank(object client.Object) client.Object {
	fresh := reflect.New(reflect.TypeOf(object).Elem()).Interface().(client.Object)
	fresh.SetNamespace(object.GetNamespace())
	fresh.SetName(object.GetName())
	return fresh
}

func nameOf(object client.Object) string {
	return fmt.Sprintf("%s %s/%s", reflect.TypeOf(object).Elem().Name(), object.GetNamespace(), object.GetName())
}

// said gathers what Chaos Mesh says of a round that does not come into force: of the
// many that say the same of each pod, one; and the errors of its daemons since then.
func (f *Fault) said(ctx context.Context, r *round, since time.Time) []string {
	said := complaints(statusOf(r.seen()), v1alpha1.Apply)
	if len(said) == 0 {
		said = f.bed.ruleFailures(ctx, r)
	}
	if len(said) == 0 {
		said = f.bed.warnings(ctx, r.seen())
	}
	said = said[:min(1, len(said))]
	if needsDaemon(f.exp) {
		said = append(said, f.bed.daemonErrors(ctx, r.resolution, since)...)
	}
	return unique(said)
}

// why words why a round that was begun then is not in force, by what was said of it.
func (f *Fault) why(r *round, last error, begun time.Time, said []string) error {
	took := time.Since(begun).Round(time.Second)
	if len(said) == 0 {
		return fmt.Errorf("%w after %v, and says nothing of why", last, took)
	}
	text := strings.Join(said, "; ")
	// Only what asks the kernel for a discipline can be beyond it: of anything else, a
	// message about one is somebody else's, and another attempt may do.
	if discipline(r.resolution) != "" && slices.ContainsFunc(said, beyondKernel) {
		f.bed.noteKernel(r.resolution, said)
		return experiments.UnableTo("%v after %v: %s", last, took, text)
	}
	return fmt.Errorf("%w after %v: %s", last, took, text)
}

// warnings are the messages of the Warning events about an object.
func (t *Testbed) warnings(ctx context.Context, object client.Object) []string {
	var events core.EventList
	if err := t.client.List(ctx, &events, client.InNamespace(object.GetNamespace())); err != nil {
		return nil
	}
	var all []string
	for _, e := range events.Items {
		if e.Type == core.EventTypeWarning && e.InvolvedObject.UID == object.GetUID() {
			all = append(all, oneLine(e.Message))
		}
	}
	return unique(all)
}

// remove takes one round back and waits until its object is gone.
func (f *Fault) remove(ctx context.Context, r *round) error {
	r.mu.Lock()
	done, object := !r.sent || r.gone, r.object
	r.mu.Unlock()
	if done {
		return nil
	}
	f.noteVictims(ctx, r)
	stop := f.follow(ctx, r)
	defer stop()
	if err := f.release(ctx, r); err != nil {
		return err
	}
	removal, err := cleanup.Remove(ctx, f.bed.client, blank(object), f.bed.recoverWithin)
	r.mu.Lock()
	defer r.mu.Unlock()
	removal.Forced = removal.Forced || r.removal.Forced
	r.removal, r.gone = removal, err == nil
	return err
}

// noteVictims notes what has become of the pods since the injection. Nothing is noted
// when the API server does not tell: whoever asks then, asks it again.
func (f *Fault) noteVictims(ctx context.Context, r *round) {
	pods, err := f.bed.pods(ctx)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.after == nil {
		r.after = lives(pods, r.watched())
	}
}

// follow keeps Chaos Mesh's last word on an object that goes, and helps it to let go.
func (f *Fault) follow(ctx context.Context, r *round) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for sleep(ctx, lookEvery/2) {
			object := blank(r.seen())
			switch err := f.bed.client.Get(ctx, client.ObjectKeyFromObject(object), object); {
			case err == nil:
				r.see(object)
				if halfway(statusOf(object)) {
					_ = f.loosen(ctx, r) // what stays stuck, cleanup forces
				}
			case apierrors.IsNotFound(err):
				return
			}
		}
	}()
	return func() { cancel(); <-done }
}

package kube

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	core "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"seatrial/experiments"
)

// Fault is an experiment with its victims drawn. Its methods may be called from any
// goroutine.
type Fault struct {
	bed  *Testbed
	exp  *experiments.Experiment
	pick []string
	rng  *rand.Rand

	mu     sync.Mutex
	rounds []*round // one, or one a repetition
	cancel context.CancelFunc
	ended  chan struct{} // closed when the clock of the fault has stopped
	failed error         // what went wrong after Inject had returned
}

// Victims are the names of all pods that the fault is about.
func (f *Fault) Victims() []string {
	var names []string
	for _, r := range f.all() {
		names = append(names, r.resolution.VictimNames()...)
	}
	return unique(names)
}

// all is the rounds as they are now.
func (f *Fault) all() []*round {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.rounds)
}

// Manifest is the object as applied, a document a repetition: it names the victims
// that were drawn. Once it was applied it has what Chaos Mesh last said of it.
func (f *Fault) Manifest() []byte {
	var documents []string
	for _, r := range f.all() {
		object := r.seen().DeepCopyObject().(client.Object)
		object.SetManagedFields(nil)
		object.GetObjectKind().SetGroupVersionKind(f.exp.Object.GetObjectKind().GroupVersionKind())
		data, err := yaml.Marshal(object)
		if err != nil {
			data = f.exp.Raw
		}
		documents = append(documents, string(data))
	}
	return []byte(strings.Join(documents, "---\n"))
}

// Inject lets Chaos Mesh inject the experiment. It returns when the first round is
// in force by Chaos Mesh's records; further rounds, and the end of its duration,
// which counts from then, come by the clock. The error has Chaos Mesh's own messages.
func (f *Fault) Inject(ctx context.Context) error {
	if err := f.inject(ctx, f.all()[0]); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	clock, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f.cancel, f.ended = cancel, make(chan struct{})
	go f.run(clock, f.ended)
	return nil
}

// run is the fault's clock.
func (f *Fault) run(ctx context.Context, ended chan struct{}) {
	defer close(ended)
	for i := range f.all()[1:] {
		if !sleep(ctx, f.exp.Repeat.Every) {
			return
		}
		if err := f.again(ctx, i+1); err != nil {
			f.fail(err)
			return
		}
	}
	if f.exp.Duration > 0 && sleep(ctx, f.exp.Duration) {
		// Begun, it is not to be cut off by Recover, which waits for it.
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBackWithin)
		defer cancel()
		if err := f.takeBack(bounded); err != nil {
			f.fail(err) // Recover tries again
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (f *Fault) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = err
}

// again injects a further round. Where a victim of it is gone meanwhile, killed by
// an earlier round perhaps, its victims are drawn anew from the pods that there are.
func (f *Fault) again(ctx context.Context, i int) error {
	pods, err := f.bed.pods(ctx)
	if err != nil {
		return err
	}
	r := f.all()[i]
	if fit(f.exp, r.resolution, withoutEnding(pods)) != nil {
		if r, err = f.redraw(i, pods); err != nil {
			return err
		}
	}
	return f.inject(ctx, r)
}

// redraw puts a round with other victims in the place of one.
func (f *Fault) redraw(i int, pods []core.Pod) (*round, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.draw(pods); err != nil {
		return nil, err
	}
	last := len(f.rounds) - 1
	f.rounds[i], f.rounds = f.rounds[last], f.rounds[:last]
	return f.rounds[i], nil
}

// Recover ends the fault before, at or after its time, and returns when every
// object is gone, by force if need be. It may be called again.
func (f *Fault) Recover(ctx context.Context) error {
	f.mu.Lock()
	cancel, ended := f.cancel, f.ended
	f.mu.Unlock()
	if cancel != nil {
		cancel()
		select {
		case <-ended:
		case <-ctx.Done():
			return fmt.Errorf("take back %s: %w", f.exp.Name, context.Cause(ctx))
		}
	}
	if err := f.takeBack(ctx); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.rounds) == 1 {
		return nil // taken back now, whatever the clock met with
	}
	return f.failed
}

// takeBack removes every object that was sent to the cluster and is not gone.
func (f *Fault) takeBack(ctx context.Context) error {
	var all errgroup.Group
	for _, r := range f.all() {
		all.Go(func() error { return f.remove(ctx, r) })
	}
	return all.Wait()
}

// Account is what Chaos Mesh said, and what became of the victims meanwhile.
func (f *Fault) Account() string {
	var parts []string
	for _, r := range f.all() {
		parts = append(parts, r.account(f.exp.OneShot))
	}
	return account(parts...)
}

// Residue says what is left of the fault in the cluster: objects, rules in the
// victims' pods, pods that are not what they were. What only a look into a process
// would show, it cannot see: that is the signature's part.
func (f *Fault) Residue(ctx context.Context) ([]string, error) {
	var left []string
	var errs []error
	for _, r := range f.all() {
		found, err := f.bed.residue(ctx, r)
		left = append(left, found...)
		errs = append(errs, err)
	}
	return unique(left), errors.Join(errs...)
}

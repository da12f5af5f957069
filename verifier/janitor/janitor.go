// Package janitor removes the Experiments of runs that are dead. A run renews a
// Lease while it lives; an Experiment that names a run which does not hold the live
// Lease is an orphan, and nobody else will take its fault back.
//
// It must not know what a run is made of, nor touch an Experiment that names none:
// those are somebody else's.
package janitor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/chaos-mesh/chaos-mesh/api/v1alpha1"
	coordination "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"seatrial/verifier/kube/cleanup"
	"seatrial/verifier/kube/lease"
)

// The times that make up the promise of 30 s; docs/in-cluster.md adds them up.
const (
	// LookEvery is the time between two looks.
	LookEvery = 2 * time.Second
	// Patience is how long Chaos Mesh may take a fault back before force is used.
	Patience = 8 * time.Second
)

// lookTimeout is the patience with the API server in one look.
const lookTimeout = 5 * time.Second

// removeTimeout ends a removal that hangs; the next look begins another.
const removeTimeout = time.Minute

// lists are the kinds that a run may create, those that break pods.
func lists() []client.ObjectList {
	return []client.ObjectList{
		&v1alpha1.PodChaosList{}, &v1alpha1.NetworkChaosList{}, &v1alpha1.StressChaosList{}, &v1alpha1.TimeChaosList{},
		&v1alpha1.IOChaosList{}, &v1alpha1.DNSChaosList{}, &v1alpha1.HTTPChaosList{}, &v1alpha1.KernelChaosList{}, &v1alpha1.JVMChaosList{},
	}
}

// Orphans are those of the Experiments that name a run which does not hold the live
// Lease. The Lease must have been looked at after the Experiments: a run holds it
// before it creates one.
func Orphans(experiments []client.Object, view lease.View) []client.Object {
	var orphans []client.Object
	for _, e := range experiments {
		run, labelled := e.GetLabels()[lease.Label]
		if labelled && !view.HeldBy(run) {
			orphans = append(orphans, e)
		}
	}
	return orphans
}

// Config says where a Janitor looks. All fields are needed.
type Config struct {
	Client         client.Client // without a cache
	Namespaces     []string      // of the Experiments, at least one
	LeaseNamespace string
	Log            *slog.Logger
}

// Janitor looks for orphans and removes them. Two may work on one cluster.
type Janitor struct {
	Config
	metrics  *metrics
	health   health
	observer lease.Observer

	removers sync.WaitGroup
	mu       sync.Mutex
	busy     map[types.UID]bool // being removed
}

// New makes a Janitor, or says what its Config lacks.
func New(c Config) (*Janitor, error) {
	switch {
	case c.Client == nil || c.Log == nil:
		return nil, errors.New("janitor: a client and a log are needed")
	case len(c.Namespaces) == 0 || slices.Contains(c.Namespaces, ""):
		return nil, errors.New("janitor: no namespace to look in")
	case c.LeaseNamespace == "":
		return nil, errors.New("janitor: no namespace of the lease")
	}
	return &Janitor{Config: c, metrics: newMetrics(), busy: map[types.UID]bool{}}, nil
}

// Run looks until ctx ends; then it waits for the removals it began, which end, too.
// What goes wrong is logged, counted, and tried again at the next look.
func (j *Janitor) Run(ctx context.Context) {
	defer j.removers.Wait()
	ticker := time.NewTicker(LookEvery)
	defer ticker.Stop()
	for {
		if err := j.look(ctx); err != nil && ctx.Err() == nil {
			j.metrics.errors.Inc()
			j.Log.Error("look for orphans", "error", err)
		}
		j.health.turned(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// look looks once, and begins to remove what it finds.
func (j *Janitor) look(parent context.Context) error {
	ctx, cancel := context.WithTimeout(parent, lookTimeout)
	defer cancel()
	experiments, listErr := j.list(ctx) // one kind that cannot be listed hides no other
	view, err := j.lease(ctx)
	if err != nil {
		return errors.Join(listErr, err) // who holds it is not known: nothing may be removed
	}
	j.metrics.hold(view.Live)
	orphans := Orphans(experiments, view)
	j.metrics.orphans.Set(float64(len(orphans)))
	for _, o := range orphans {
		j.begin(parent, o, view)
	}
	if listErr != nil {
		return listErr
	}
	j.metrics.looked.Set(float64(time.Now().UnixMilli()) / 1000)
	j.health.looked(time.Now())
	return nil
}

// list reads every Experiment that names a run, all kinds at once: an API server that
// has just started is slow with each for the first time.
func (j *Janitor) list(ctx context.Context) ([]client.Object, error) {
	var mu sync.Mutex // guards all and errs
	var all []client.Object
	var errs []error
	var readers sync.WaitGroup
	for _, namespace := range j.Namespaces {
		for _, list := range lists() {
			readers.Go(func() {
				found, err := j.listKind(ctx, namespace, list)
				mu.Lock()
				defer mu.Unlock()
				all, errs = append(all, found...), append(errs, err)
			})
		}
	}
	readers.Wait()
	return all, errors.Join(errs...)
}

// listKind reads the Experiments of one kind. One that this Chaos Mesh does not have
// is empty.
func (j *Janitor) listKind(ctx context.Context, namespace string, list client.ObjectList) ([]client.Object, error) {
	err := j.Client.List(ctx, list, client.InNamespace(namespace), client.HasLabels{lease.Label})
	if apimeta.IsNoMatchError(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %T in %s: %w", list, namespace, err)
	}
	var found []client.Object
	err = apimeta.EachListItem(list, func(o runtime.Object) error {
		found = append(found, o.(client.Object))
		return nil
	})
	return found, err
}

// lease looks at the Lease. One that does not exist is held by nobody.
func (j *Janitor) lease(ctx context.Context) (lease.View, error) {
	l := &coordination.Lease{}
	key := client.ObjectKey{Namespace: j.LeaseNamespace, Name: lease.Name}
	err := j.Client.Get(ctx, key, l)
	switch {
	case apierrors.IsNotFound(err):
		l = nil
	case err != nil:
		return lease.View{}, fmt.Errorf("read the lease %s: %w", key, err)
	}
	return j.observer.See(l, time.Now()), nil
}

// begin removes an orphan in the background, unless that is being done.
func (j *Janitor) begin(ctx context.Context, orphan client.Object, view lease.View) {
	j.mu.Lock()
	defer j.mu.Unlock()
	uid := orphan.GetUID()
	if j.busy[uid] {
		return
	}
	j.busy[uid] = true
	j.removers.Go(func() {
		j.remove(ctx, orphan, view)
		j.mu.Lock()
		defer j.mu.Unlock()
		delete(j.busy, uid)
	})
}

// remove removes an orphan, and tells of it.
func (j *Janitor) remove(ctx context.Context, orphan client.Object, view lease.View) {
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	run := orphan.GetLabels()[lease.Label]
	log := j.Log.With("experiment", kindOf(orphan)+" "+client.ObjectKeyFromObject(orphan).String(), "run", run, "lease", view.String())
	log.Info("remove orphan")
	done, err := cleanup.Remove(ctx, j.Client, orphan, Patience)
	if err != nil {
		j.metrics.failed.Inc()
		log.Error("remove orphan", "error", err)
	} else if done.Deleted || done.Forced {
		j.metrics.remove(done.Forced)
		log.Info("removed orphan", "forced", done.Forced, "restarted", done.Restarted)
	}
	if e := eventOf(orphan, view, done, err, time.Now()); e != nil {
		if err := j.Client.Create(ctx, e); err != nil {
			log.Warn("write an event", "error", err)
		}
	}
}

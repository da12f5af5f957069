// Package fleet is several load generators that send one load together: each its
// exact share, all on one schedule, and what they recorded becomes one record.
//
// A fleet is all or nothing. A replica that does not answer, or that lost what it
// sent, is an error, never a smaller load. It does not know where replicas run
// or how their addresses are found.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"seatrial/loadgen/control"
)

// lead is how long after Start is called a shared load begins: time for every
// replica to be told.
const lead = time.Second

// Fleet is the load generators behind some URLs. Errors name the replica by its URL.
type Fleet struct {
	replicas []replica
	begin    time.Time // of the load that was started last; zero for a fleet of one
	id       string    // of that load
}

type replica struct {
	*control.Client
	url string
	id  string // of its share
}

// New returns the Fleet of the control APIs at urls, at least one.
func New(urls []string, h *http.Client) (*Fleet, error) {
	if len(urls) == 0 {
		return nil, errors.New("gather the load generators: there is none")
	}
	f := &Fleet{}
	seen := map[string]bool{}
	for _, u := range urls {
		if seen[u] {
			return nil, fmt.Errorf("gather the load generators: %s is named twice", u)
		}
		seen[u] = true
		f.replicas = append(f.replicas, replica{Client: control.NewClient(u, h), url: u})
	}
	return f, nil
}

// Start begins s, whose Shard and Begin are the Fleet's business, and returns when
// it has begun. Replica i of n sends hits i, i+n, i+2n, ... of the profile from
// one common moment: together the profile, hit by hit, with the ids that one
// replica would have sent. When one replica does not start, none goes on.
//
// A Fleet of one is its replica: it is told s as it is.
func (f *Fleet) Start(ctx context.Context, s control.Spec) error {
	f.id, f.begin = s.ID, time.Time{}
	of := uint64(len(f.replicas))
	if of > 1 {
		f.begin = time.Now().Add(lead).Round(0)
	}
	started := make([]bool, of)
	err := f.each(func(i int, r *replica) error {
		share := s
		r.id = s.ID
		if of > 1 {
			r.id = fmt.Sprintf("%s-%d", s.ID, i)
			share.ID, share.Begin, share.Shard = r.id, f.begin, &control.Shard{Index: uint64(i), Of: of}
		}
		_, err := r.Client.Start(ctx, share)
		started[i] = err == nil
		return err
	})
	if err == nil {
		err = wait(ctx, f.begin)
	}
	if err != nil {
		return errors.Join(err, f.abandon(ctx, started))
	}
	return nil
}

// wait returns at begin, or with an error when ctx ends first.
func wait(ctx context.Context, begin time.Time) error {
	left := time.NewTimer(time.Until(begin))
	defer left.Stop()
	select {
	case <-left.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the load's beginning: %w", ctx.Err())
	}
}

// abandon stops the shares that were started of a load that was not. A load of
// one that did not start has nothing to stop.
func (f *Fleet) abandon(ctx context.Context, started []bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return f.each(func(i int, r *replica) error {
		if !started[i] {
			return nil
		}
		_, err := r.Client.Stop(ctx, r.id)
		return err
	})
}

// Status adds up how the shares are doing. A share that failed is an error.
func (f *Fleet) Status(ctx context.Context) (control.Status, error) {
	return f.gather(func(r *replica) (control.Status, error) { return r.Client.Status(ctx, r.id) })
}

// Stop ends the sending and returns when the last answer of the last share is in.
// It asks every replica whatever the others answer; a share that failed is an error.
func (f *Fleet) Stop(ctx context.Context) (control.Status, error) {
	return f.gather(func(r *replica) (control.Status, error) { return r.Client.Stop(ctx, r.id) })
}

func (f *Fleet) gather(ask func(*replica) (control.Status, error)) (control.Status, error) {
	all := make([]control.Status, len(f.replicas))
	err := f.each(func(i int, r *replica) error {
		s, err := ask(r)
		if err == nil && s.State == control.Failed {
			err = fmt.Errorf("it ended the load: %s", s.Error)
		}
		all[i] = s
		return err
	})
	if err != nil {
		return control.Status{}, err
	}
	return sum(f.id, all), nil
}

// sum is the whole load's status. A fleet of one keeps its replica's Report; the
// percentiles of several cannot be added.
func sum(id string, all []control.Status) control.Status {
	if len(all) == 1 {
		return all[0]
	}
	total := control.Status{ID: id, State: control.Done}
	for i, s := range all {
		if s.State == control.Running {
			total.State = control.Running
		}
		if i == 0 || s.Started.Before(total.Started) {
			total.Started = s.Started
		}
		total.Asked += s.Asked
		total.Sent += s.Sent
		total.InFlight += s.InFlight
		total.AskedRate += s.AskedRate
		total.AchievedRate += s.AchievedRate
		total.Outcomes.Accepted += s.Outcomes.Accepted
		total.Outcomes.Refused += s.Outcomes.Refused
		total.Outcomes.Unknown += s.Outcomes.Unknown
	}
	return total
}

// each calls do for every replica at the same time, and joins the errors.
func (f *Fleet) each(do func(i int, r *replica) error) error {
	errs := make([]error, len(f.replicas))
	var all errgroup.Group
	for i := range f.replicas {
		all.Go(func() error {
			r := &f.replicas[i]
			if err := do(i, r); err != nil {
				errs[i] = fmt.Errorf("load generator %s: %w", r.url, err)
			}
			return nil
		})
	}
	_ = all.Wait()
	return errors.Join(errs...)
}

package trial

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"seatrial/verifier/evidence"
)

// closeLoad ends the load, lets the queue drain and fetches the Evidence. It
// runs always.
func (r *run) closeLoad(parent context.Context) error {
	r.show("drain", time.Time{})
	ctx, cancel := context.WithTimeout(context.WithoutCancel(parent), drainWithin+missingWithin+2*saveWithin)
	defer cancel()
	var errs []error
	if err := r.Load.Stop(ctx); err != nil {
		errs = append(errs, unfit("stop load: %w", err))
	}
	if err := r.sampleLoad(ctx); err == nil {
		s := r.loadStatus()
		r.rec.AskedRate, r.rec.AchievedRate = s.AskedRate, s.AchievedRate
	}
	r.rec.Mark(time.Now(), "load stopped")
	errs = append(errs, r.drain(ctx, parent.Err() != nil))
	if err := r.Load.Save(ctx, r.Dir); err != nil {
		errs = append(errs, unfit("save the History: %w", err))
	}
	r.saveHeld(ctx, parent.Err() != nil)
	for _, w := range []string{"fault", "recovery"} {
		r.measure(ctx, w)
	}
	r.saveSamples(ctx)
	r.diagnose(ctx)
	r.noteRestarts(ctx)
	if err := r.Testbed.Logs(ctx, r.rec.Started, r.Dir.Path(evidence.LogsDir)); err != nil {
		errs = append(errs, unfit("collect logs: %w", err))
	}
	return errors.Join(errs...)
}

// drain waits for an empty queue; interrupted, it gives it five seconds only.
// What is still in the queue is neither done nor lost.
func (r *run) drain(ctx context.Context, hurry bool) error {
	limit := drainWithin
	if hurry {
		limit = 5 * time.Second
	}
	empty := func() error {
		n, err := r.System.Backlog(ctx)
		if err == nil && n > 0 {
			return fmt.Errorf("%d tasks in the queue", n)
		}
		r.tick(ctx, "drain", 0)
		return err
	}
	err := until(ctx, limit, empty)
	switch {
	case err == nil && r.rec.DrainedAt.IsZero():
		r.rec.DrainedAt = time.Now()
	case err != nil:
		r.rec.Held = fmt.Sprintf("asked before the queue was empty: %v", err)
	}
	if err != nil && !hurry {
		return broken("the queue did not drain: %w", err)
	}
	return nil
}

// saveHeld writes what the system holds; that it could not is for the judge to weigh. It
// asks again while accepted tasks are missing, for the queue may say too early that it is
// empty: its count comes from one server, which may lag behind the majority that
// accepted them. Interrupted, it asks once.
func (r *run) saveHeld(ctx context.Context, hurry bool) {
	limit := missingWithin
	if hurry {
		limit = 0
	}
	var fetched error
	_ = until(ctx, limit, func() error {
		if fetched = r.fetchHeld(ctx); fetched != nil {
			return fetched
		}
		if n := readLedger(r.Dir, &r.Plan, r.rec).Summary().Lost; n > 0 {
			return fmt.Errorf("%d accepted tasks are not done", n)
		}
		return nil
	})
	if fetched != nil {
		r.rec.Held = fmt.Sprintf("not readable: %v", fetched)
	}
}

func (r *run) fetchHeld(ctx context.Context) error {
	header, err := historyHeader(r.Dir)
	if err != nil {
		return err
	}
	f, err := os.Create(r.Dir.Path(evidence.HeldFile))
	if err != nil {
		return err
	}
	return errors.Join(r.System.Held(ctx, header.Prefix+"-", f), f.Close())
}

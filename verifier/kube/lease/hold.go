package lease

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	coordination "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ErrHeld is wrapped by the error for a Lease that another run holds.
var ErrHeld = errors.New("another run holds the lease")

// ErrLost is wrapped by the cause of a Held's context when the Lease was lost.
var ErrLost = errors.New("the lease is lost")

// lookEvery is the time between two looks at a Lease that somebody holds.
const lookEvery = 500 * time.Millisecond

// Held is a Lease that this process holds and renews. Release gives it back.
type Held struct {
	client  client.Client
	key     client.ObjectKey
	run     string
	ctx     context.Context
	cancel  context.CancelCauseFunc
	renewer sync.WaitGroup

	current *coordination.Lease // as last written; the renewer's own until it ended
	renewed time.Time           // when the last renewal that succeeded was begun
}

// Hold takes the Lease in namespace for run, and renews it until Release, until ctx
// ends or until it is lost. A Lease that another run holds is watched for its
// duration: when it changes it is live, and the error (ErrHeld) names its holder and
// until when it lasts; when it does not, it is taken over. Two that try at once
// cannot both win: each writes only over what it has read. run must not be empty and
// is compared as it is; the same name held by another process is another's. c must
// read from the API server itself, not from a cache.
func Hold(ctx context.Context, c client.Client, namespace, run string) (*Held, error) {
	if run == "" {
		return nil, errors.New("hold the lease: the run has no name")
	}
	h := &Held{client: c, key: client.ObjectKey{Namespace: namespace, Name: Name}, run: run}
	if err := h.take(ctx); err != nil {
		return nil, fmt.Errorf("hold the lease %s for run %s: %w", h.key, run, err)
	}
	h.ctx, h.cancel = context.WithCancelCause(ctx)
	h.renewer.Go(h.renew)
	return h, nil
}

// Context ends when the Lease is lost (its cause is ErrLost), when it is released,
// and when the context given to Hold ends. What the Lease protects is to end with it.
func (h *Held) Context() context.Context { return h.ctx }

// Release stops the renewing and empties the holder, so that the next run need not
// wait. A Lease that was lost is left as it is. It may be called again.
func (h *Held) Release(ctx context.Context) error {
	lost := errors.Is(context.Cause(h.ctx), ErrLost)
	h.cancel(context.Canceled)
	h.renewer.Wait()
	if lost {
		return nil
	}
	for {
		l, err := h.get(ctx)
		if err != nil {
			return fmt.Errorf("release the lease %s: %w", h.key, err)
		}
		if l == nil || markOf(l).holder != h.run || !sameTerm(l, h.current) {
			return nil // released before, or another's by now
		}
		l.Spec.HolderIdentity = new("")
		err = h.client.Update(ctx, l)
		if err == nil {
			return nil
		}
		if !apierrors.IsConflict(err) {
			return fmt.Errorf("release the lease %s: %w", h.key, err)
		}
	}
}

// sameTerm says whether a and b are of one holding: taking a Lease counts a
// transition.
func sameTerm(a, b *coordination.Lease) bool {
	return a.UID == b.UID && markOf(a).transitions == markOf(b).transitions
}

// get reads the Lease; nil when there is none.
func (h *Held) get(ctx context.Context) (*coordination.Lease, error) {
	l := &coordination.Lease{}
	err := h.client.Get(ctx, h.key, l)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}

// take looks at the Lease until it is this run's or is known to be live.
func (h *Held) take(ctx context.Context) error {
	var o Observer
	var first mark
	for i := 0; ; i++ {
		l, err := h.get(ctx)
		if err != nil {
			return err
		}
		if i == 0 {
			first = markOf(l)
		}
		view := o.See(l, time.Now())
		if view.Live && markOf(l) != first {
			return fmt.Errorf("%w: it is %s", ErrHeld, view)
		}
		if !view.Live {
			won, err := h.write(ctx, l)
			if err != nil || won {
				return err
			}
			// Another one was faster. Its Lease has changed, which shows that it lives.
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(lookEvery):
		}
	}
}

// write makes this run the holder of l, as it was read; nil creates it. It tells
// whether it won against others that did the same.
func (h *Held) write(ctx context.Context, l *coordination.Lease) (won bool, err error) {
	begun := time.Now()
	create := l == nil
	if create {
		l = &coordination.Lease{ObjectMeta: meta.ObjectMeta{Namespace: h.key.Namespace, Name: h.key.Name}}
	}
	now := meta.NowMicro()
	l.Spec.LeaseTransitions = new(markOf(l).transitions + 1)
	l.Spec.HolderIdentity = &h.run
	l.Spec.LeaseDurationSeconds = new(int32(Duration / time.Second))
	l.Spec.AcquireTime, l.Spec.RenewTime = &now, &now
	if create {
		err = h.client.Create(ctx, l)
	} else {
		err = h.client.Update(ctx, l)
	}
	switch {
	case err == nil:
		h.current, h.renewed = l, begun
		return true, nil
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return false, nil
	}
	return false, err
}

// renew renews until the context ends, and ends it when the Lease is lost.
func (h *Held) renew() {
	pause := RenewEvery
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-time.After(min(pause, max(0, time.Until(h.renewed.Add(GiveUpAfter))))):
		}
		err := h.renewOnce()
		if err == nil {
			pause = RenewEvery
			continue
		}
		if _, lost := errors.AsType[*lostError](err); lost || time.Since(h.renewed) >= GiveUpAfter {
			h.cancel(fmt.Errorf("%w: %s: %w", ErrLost, h.key, err))
			return
		}
		pause = lookEvery // the API server did not take it: ask again soon
	}
}

// lostError says that the Lease is not this run's any more.
type lostError struct{ now View }

func (e *lostError) Error() string { return "it is " + e.now.String() }

// renewOnce writes a new renewal time over the Lease as last written. When somebody
// changed it meanwhile, it looks: another's word (a label, say) is kept, another
// holder is the end.
func (h *Held) renewOnce() error {
	begun := time.Now()
	deadline := h.renewed.Add(GiveUpAfter)
	if soon := begun.Add(RenewEvery); soon.Before(deadline) {
		deadline = soon // one request that hangs is not to cost the Lease
	}
	ctx, cancel := context.WithDeadline(h.ctx, deadline)
	defer cancel()
	l := h.current.DeepCopy()
	l.Spec.RenewTime = new(meta.NowMicro())
	err := h.client.Update(ctx, l)
	if err == nil {
		h.current, h.renewed = l, begun
		return nil
	}
	if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		return err
	}
	found, err := h.get(ctx)
	switch {
	case err != nil:
		return err
	case found == nil:
		return &lostError{}
	case markOf(found).holder != h.run || !sameTerm(found, h.current):
		return &lostError{now: new(Observer).See(found, time.Now())}
	}
	h.current = found // this run's, with a change of somebody else's
	return errors.New("it was changed by another while being renewed")
}

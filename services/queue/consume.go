package queue

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"seatrial/services/task"
)

// prefetch is how many Tasks are asked for ahead of need. What a dead worker
// had prefetched waits for its acknowledgement deadline, so it is kept small.
const prefetch = 64

// drainWait is how long giving prefetched Tasks back may take.
const drainWait = 2 * time.Second

// Delivery is one Task in the hands of this worker. Exactly one of Ack, Later
// and Terminate ends it; without any it is delivered again to some worker.
type Delivery struct {
	Task       task.Task
	AcceptedAt time.Time // when the stream stored it, by the server's clock
	Deliveries int       // this one included
	answer     Answer
}

// Answer is how a Delivery tells its server; jetstream.Msg has these methods.
type Answer interface {
	Ack() error
	NakWithDelay(time.Duration) error
	InProgress() error
	TermWithReason(string) error
}

// NewDelivery is for tests of those who take Deliveries.
func NewDelivery(t task.Task, acceptedAt time.Time, deliveries int, a Answer) Delivery {
	return Delivery{t, acceptedAt, deliveries, a}
}

// Ack says that the Task is recorded and need not be kept. Should it get lost,
// the Task is delivered again.
func (d Delivery) Ack() error { return d.answer.Ack() }

// Later gives the Task back, to be delivered again after delay.
func (d Delivery) Later(delay time.Duration) error { return d.answer.NakWithDelay(delay) }

// Progress asks for more time.
func (d Delivery) Progress() error { return d.answer.InProgress() }

// Terminate ends a Task that will never be done.
func (d Delivery) Terminate(reason string) error { return d.answer.TermWithReason(headerSafe(reason)) }

// Consume hands every delivery to handle, one after the other, until ctx ends.
// A handle that blocks stops the flow. It survives the loss of the connection,
// of the consumer's leader, and of the consumer. When it returns, handle is not
// running and will not be called again.
func (q *Queue) Consume(ctx context.Context, handle func(Delivery)) error {
	for ctx.Err() == nil {
		if err := q.Persist(ctx, q.Find); err != nil {
			break
		}
		if err := q.consumeOnce(ctx, handle); err != nil && ctx.Err() == nil {
			q.log.Info("consume again", "error", err)
		}
		pause(ctx, 250*time.Millisecond)
	}
	return ctx.Err()
}

func (q *Queue) consumeOnce(ctx context.Context, handle func(Delivery)) error {
	failed := make(chan error, 1)
	run, err := q.consumer.Load().Consume(
		func(m jetstream.Msg) { q.receive(ctx, m, handle) },
		jetstream.PullMaxMessages(prefetch),
		jetstream.PullExpiry(10*time.Second),
		jetstream.PullHeartbeat(time.Second),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
			q.log.Debug("consume", "error", err)
			if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoHeartbeat) {
				// The consumer has no leader, or another one. The library would
				// ask again only after more heartbeats were missed.
				select {
				case failed <- err:
				default:
				}
			}
		}),
	)
	if err != nil {
		return err
	}
	q.consuming.Store(true)
	defer q.consuming.Store(false)
	select {
	case <-run.Closed():
		return errors.New("the consumer is gone")
	case err = <-failed:
	case <-ctx.Done():
	}
	// What is prefetched passes through receive: it is handled, or given back
	// if ctx has ended.
	run.Drain()
	select {
	case <-run.Closed():
	case <-time.After(drainWait):
		run.Stop() // there is no connection to drain
		<-run.Closed()
	}
	return err
}

func (q *Queue) receive(ctx context.Context, m jetstream.Msg, handle func(Delivery)) {
	if ctx.Err() != nil {
		_ = m.Nak() // another worker may have it at once
		return
	}
	meta, err := m.Metadata()
	if err != nil {
		q.log.Error("a delivery without metadata", "subject", m.Subject(), "error", err)
		return
	}
	handle(Delivery{
		Task:       task.Task{ID: strings.TrimPrefix(m.Subject(), taskSubject), Payload: m.Data()},
		AcceptedAt: meta.Timestamp,
		Deliveries: int(meta.NumDelivered),
		answer:     m,
	})
}

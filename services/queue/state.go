package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// State is what JetStream says about the stream. It may still be said when no
// Task can be accepted any more; see Gate for that.
type State struct {
	Backlog  int  // Tasks accepted and not acknowledged by a worker
	Leader   bool // the stream has one
	Replicas int  // servers that hold all of the stream, the leader included
}

// State asks the stream and its consumer.
func (q *Queue) State(ctx context.Context) (State, error) {
	stream, consumer := q.stream.Load(), q.consumer.Load()
	if stream == nil || consumer == nil {
		return State{}, ErrNotReady
	}
	info, err := stream.Info(ctx)
	if err != nil {
		return State{}, fmt.Errorf("ask for stream %s: %w", Stream, err)
	}
	s := State{Leader: true, Replicas: 1} // a single server has no cluster
	if info.Cluster != nil {
		s = State{Leader: info.Cluster.Leader != ""}
		if s.Leader {
			s.Replicas = 1
		}
		for _, peer := range info.Cluster.Replicas {
			if peer.Current && !peer.Offline {
				s.Replicas++
			}
		}
	}
	s.Backlog, err = q.backlog(ctx, consumer)
	return s, err
}

// Backlog counts the Tasks that are accepted and not acknowledged by a worker.
func (q *Queue) Backlog(ctx context.Context) (int, error) {
	consumer := q.consumer.Load()
	if consumer == nil {
		return 0, ErrNotReady
	}
	return q.backlog(ctx, consumer)
}

func (q *Queue) backlog(ctx context.Context, c *consumerHandle) (int, error) {
	info, err := c.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("ask for consumer %s: %w", Consumer, err)
	}
	return int(info.NumPending) + info.NumAckPending, nil
}

// Waiting reports whether the Task is accepted and not yet acknowledged, and
// since when. The stream's leader is asked, so the answer is not stale.
func (q *Queue) Waiting(ctx context.Context, id string) (since time.Time, ok bool, err error) {
	stream := q.stream.Load()
	if stream == nil {
		return time.Time{}, false, ErrNotReady
	}
	msg, err := stream.GetLastMsgForSubject(ctx, taskSubject+id)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return time.Time{}, false, nil
	}
	if err != nil {
		return time.Time{}, false, fmt.Errorf("look for task %s in stream %s: %w", id, Stream, err)
	}
	return msg.Time, true, nil
}

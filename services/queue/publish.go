package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"seatrial/services/task"
)

// attempt is how long one of several publishes waits for its acknowledgement.
const attempt = time.Second

// Accept stores one Task on a majority of servers and returns nil only when
// they have said so; a Task with an id that was accepted before is accepted
// again. It tries until ctx's deadline. The error wraps task.ErrRefused or task.ErrUnknown.
func (q *Queue) Accept(ctx context.Context, t task.Task) error {
	stored := false // that is: may have been
	// What failed with others is tried alone: the id tells whether it is there.
	if q.together.Load() {
		err := q.group.join(ctx, t)
		if err == nil {
			return nil
		}
		stored = !neverStored(err)
	}
	err := persist(ctx, stored, func(ctx context.Context) error { return q.store(ctx, message(t)) })
	if err != nil {
		return fmt.Errorf("publish task %s: %w", t.ID, err)
	}
	return nil
}

// Bury stores a dead letter for a Task and returns nil once it is acknowledged.
func (q *Queue) Bury(ctx context.Context, t task.Task, reason string) error {
	msg := &nats.Msg{
		Subject: deadSubject + t.ID,
		Header:  nats.Header{nats.MsgIdHdr: []string{t.ID}, ReasonHeader: []string{headerSafe(reason)}},
		Data:    t.Payload,
	}
	if err := persist(ctx, false, func(ctx context.Context) error { return q.store(ctx, msg) }); err != nil {
		return fmt.Errorf("publish dead letter %s: %w", t.ID, err)
	}
	return nil
}

// Probe stores one small message, which is what accepting a Task takes.
func (q *Queue) Probe(ctx context.Context) error {
	return q.store(ctx, &nats.Msg{Subject: probeSubject + q.pod})
}

// store publishes one message and waits for its acknowledgement.
func (q *Queue) store(ctx context.Context, msg *nats.Msg) error {
	resp, err := q.conn.RequestMsgWithContext(ctx, msg)
	if err != nil {
		return err
	}
	return judge(resp.Data)
}

// errUnsure is an acknowledgement that is none.
var errUnsure = errors.New("the server calls it a duplicate of something that it has not stored yet")

// judge returns nil if answer says that the message is stored.
func judge(answer []byte) error {
	// The usual answer, {"stream":"TASKS", "seq":1}, needs no decoder.
	if bytes.HasPrefix(answer, []byte(`{"stream":`)) && !bytes.Contains(answer, []byte(`"duplicate"`)) {
		return nil
	}
	var ack struct {
		Error    *jetstream.APIError `json:"error"`
		Stream   string              `json:"stream"`
		Sequence uint64              `json:"seq"`
	}
	if err := json.Unmarshal(answer, &ack); err != nil {
		return fmt.Errorf("read acknowledgement: %w", err)
	}
	switch {
	case ack.Error != nil:
		return ack.Error
	case ack.Stream == "":
		return jetstream.ErrInvalidJSAck
	case ack.Sequence == 0:
		// nats-server 2.10 says so of a repeated message whose first copy waits
		// for a majority, which it may never get.
		return errUnsure
	}
	return nil
}

// persist repeats send until it succeeds or ctx ends, and then says what may
// be concluded: only if no attempt can have been stored is the answer task.ErrRefused.
// stored says that it may have been before.
func persist(ctx context.Context, stored bool, send func(context.Context) error) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 400*time.Millisecond) {
		one, cancel := context.WithTimeout(ctx, attempt)
		err := send(one)
		cancel()
		if err == nil {
			return nil
		}
		stored = stored || !neverStored(err)
		if !pause(ctx, wait) {
			outcome := task.ErrRefused
			if stored {
				outcome = task.ErrUnknown
			}
			return fmt.Errorf("%w (%v)", outcome, err)
		}
	}
}

// pause waits for about d and reports whether ctx still has time after it.
func pause(ctx context.Context, d time.Duration) bool {
	d += rand.N(d)
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= d {
		return false
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// neverStored reports whether err proves that a message went nowhere: nobody
// was listening for it, or it never left this process, because there was no
// connection and nothing is buffered. A timeout proves nothing, and neither
// does nats.ErrDisconnected, which also ends requests that were sent.
func neverStored(err error) bool {
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrReconnectBufExceeded)
}

// headerSafe keeps a reason on one line of a header.
func headerSafe(s string) string {
	out := []byte(s)
	for i, c := range out {
		if c < ' ' || c > '~' {
			out[i] = ' '
		}
	}
	return string(out[:min(len(out), 256)])
}

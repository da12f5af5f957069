package queue

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"seatrial/services/task"
)

// Headers of JetStream's atomic batches: a stream that allows them stores all
// messages of a batch or none, and acknowledges them together.
const (
	batchID     = "Nats-Batch-Id"
	batchSeq    = "Nats-Batch-Sequence"
	batchCommit = "Nats-Batch-Commit"
)

// batchesSince is the first nats-server that knows atomic batches.
const batchesSince = "2.12.0"

// batchesDisabled is the code of JetStream's error when the stream allows none.
const batchesDisabled = 10174

const (
	groupTasks = 64
	groupBytes = 192 << 10 // of payload: a batch stays one step of Raft
	// groupPatience is how long a group may hold up the next one. Only a server
	// that hangs takes longer, and then Tasks go on without it.
	groupPatience = 100 * time.Millisecond
	// After a group of groupCrowd or more the next one gets groupPause to come
	// together: those who were just answered are about to ask again. Half as
	// many groups cost the servers much less than the pause costs the clients.
	groupCrowd = 8
	groupPause = time.Millisecond
)

// group stores Tasks together that arrive while earlier ones are on their way:
// a Task that comes alone is published alone and at once.
// The zero value works, with publish set.
type group struct {
	publish func(ctx context.Context, tasks []task.Task) error

	mu      sync.Mutex
	waiting []member
	busy    bool // someone is going to take what waits
}

type member struct {
	task task.Task
	done chan error // takes one answer without blocking
}

// join returns what became of the group that t was stored with. If ctx ends
// before that, t may be stored nevertheless, even later.
func (g *group) join(ctx context.Context, t task.Task) error {
	m := member{t, make(chan error, 1)}
	g.mu.Lock()
	g.waiting = append(g.waiting, m)
	idle := !g.busy
	g.busy = true
	g.mu.Unlock()
	if idle {
		go g.run()
	}
	select {
	case err := <-m.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run stores one group after the other until nobody waits.
func (g *group) run() {
	for all := g.take(); len(all) > 0; all = g.take() {
		next := time.AfterFunc(groupPatience, g.run)
		g.store(all)
		if !next.Stop() {
			return // another run has gone on
		}
		if len(all) >= groupCrowd {
			time.Sleep(groupPause)
		}
	}
}

// take returns those who waited longest, as many as one batch may have.
func (g *group) take() []member {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, size := 0, 0
	for n < len(g.waiting) && n < groupTasks {
		size += len(g.waiting[n].task.Payload)
		if n > 0 && size > groupBytes {
			break
		}
		n++
	}
	g.busy = n > 0
	all := g.waiting[:n:n]
	if g.waiting = g.waiting[n:]; len(g.waiting) == 0 {
		g.waiting = nil
	}
	return all
}

func (g *group) store(all []member) {
	ctx, cancel := context.WithTimeout(context.Background(), attempt)
	defer cancel()
	tasks := make([]task.Task, len(all))
	for i, m := range all {
		tasks[i] = m.task
	}
	err := g.publish(ctx, tasks)
	for _, m := range all {
		m.done <- err
	}
}

// batches numbers the batches of this process.
var batches atomic.Uint64

// process begins the ids of batches; no other process has the same.
var process = nuid.Next()

// storeTogether stores all tasks or none; nil means that all are acknowledged.
// The server refuses the whole batch if one id in it is known or is there twice.
// An error is for neverStored only if nothing was sent: what was sent of a
// batch could have met a server that knows none and stores each message.
func (q *Queue) storeTogether(ctx context.Context, tasks []task.Task) error {
	if len(tasks) == 1 {
		return q.store(ctx, message(tasks[0]))
	}
	id := process + strconv.FormatUint(batches.Add(1), 36)
	last := len(tasks) - 1
	for i, t := range tasks[:last] {
		// The server collects these. If one gets lost, it refuses the rest.
		if err := q.conn.PublishMsg(batched(t, id, i+1)); err != nil && i == 0 {
			return err
		} else if err != nil {
			return fmt.Errorf("send %d of %d: %v", i+1, len(tasks), err)
		}
	}
	msg := batched(tasks[last], id, len(tasks))
	msg.Header[batchCommit] = []string{"1"}
	resp, err := q.conn.RequestMsgWithContext(ctx, msg)
	if err != nil {
		return fmt.Errorf("commit %d: %v", len(tasks), err)
	}
	return q.judgeBatch(resp.Data, id, len(tasks))
}

// judgeBatch believes an acknowledgement only if it counts the whole batch: a
// server that knows none would store each message by itself, and acknowledge
// only the last.
func (q *Queue) judgeBatch(answer []byte, id string, size int) error {
	var ack struct {
		Error *jetstream.APIError `json:"error"`
		Batch string              `json:"batch"`
		Count int                 `json:"count"`
	}
	if err := json.Unmarshal(answer, &ack); err != nil {
		return fmt.Errorf("read acknowledgement of a batch: %w", err)
	}
	switch {
	case ack.Error != nil:
		if ack.Error.ErrorCode == batchesDisabled {
			q.together.Store(false)
		}
		return ack.Error
	case ack.Batch != id || ack.Count != size:
		q.together.Store(false)
		return fmt.Errorf("acknowledged %d of %d", ack.Count, size)
	}
	return nil
}

func message(t task.Task) *nats.Msg {
	return &nats.Msg{Subject: taskSubject + t.ID, Header: nats.Header{nats.MsgIdHdr: []string{t.ID}}, Data: t.Payload}
}

func batched(t task.Task, id string, seq int) *nats.Msg {
	msg := message(t)
	msg.Header[batchID] = []string{id}
	msg.Header[batchSeq] = []string{strconv.Itoa(seq)}
	return msg
}

// knowsBatches reports whether a nats-server of this version can allow batches.
func knowsBatches(version string) bool {
	have, want := numbers(version), numbers(batchesSince)
	for i := range want {
		if have[i] != want[i] {
			return have[i] > want[i]
		}
	}
	return true
}

// numbers reads "2.12.0-RC1" as 2, 12, 0; what cannot be read is 0.
func numbers(version string) (out [3]int) {
	version, _, _ = strings.Cut(version, "-")
	for i, part := range strings.SplitN(version, ".", 3) {
		out[i], _ = strconv.Atoi(part)
	}
	return out
}

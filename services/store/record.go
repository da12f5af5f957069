package store

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/valkey-io/valkey-go"

	"seatrial/services/task"
)

// Remember is how long a record is kept: much longer than the queue may
// deliver a Task again, for the record is what makes the second time harmless.
const Remember = 7 * 24 * time.Hour

// script records one Task once. The effect has a key of its own, written
// when and only when it is applied, so that a guard that did not hold would
// show there as 2. A repeated Task is a write as well: WAIT looks at the last
// write of the connection, and must cover the record that another worker made.
const script = `
local ttl = ARGV[7]
if redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('PEXPIRE', KEYS[1], ttl)
  return 0
end
redis.call('HSET', KEYS[1], 'state', ARGV[1], 'result', ARGV[2], 'worker', ARGV[3],
  'accepted_at', ARGV[4], 'done_at', ARGV[5], 'deliveries', ARGV[6])
redis.call('PEXPIRE', KEYS[1], ttl)
if ARGV[1] == 'done' then
  redis.call('INCR', KEYS[2])
  redis.call('PEXPIRE', KEYS[2], ttl)
  redis.call('INCR', KEYS[3])
end
return 1
`

// scriptSum names the script to a server that has it; SHA-1 is Valkey's choice.
var scriptSum = func() string { sum := sha1.Sum([]byte(script)); return hex.EncodeToString(sum[:]) }()

// Recorded is what became of one record.
type Recorded struct {
	Repeated bool  // the Task had been recorded before; nothing was applied
	Err      error // not nil: it may or may not be recorded, and must be tried again
}

// Record records finished Tasks (Done or Dead) in one round trip and returns
// one answer each, in the same order. An answer without an error means that
// the record, this one or an earlier one, is on the wanted number of replicas.
func (s *Store) Record(ctx context.Context, reports []task.Report) []Recorded {
	c, err := s.client()
	if err != nil {
		return all(len(reports), err)
	}
	out := s.record(ctx, c, reports)
	if len(out) > 0 && unknownScript(out[0].Err) {
		// A new primary does not have the script of its predecessor.
		if err := c.Do(ctx, c.B().ScriptLoad().Script(script).Build()).Error(); err != nil {
			return all(len(reports), fmt.Errorf("load script: %w", err))
		}
		out = s.record(ctx, c, reports)
	}
	return out
}

func (s *Store) record(ctx context.Context, c valkey.Client, reports []task.Report) []Recorded {
	ttl := strconv.FormatInt(Remember.Milliseconds(), 10)
	commands := make(valkey.Commands, 0, len(reports)+1)
	for _, r := range reports {
		commands = append(commands, c.B().Evalsha().Sha1(scriptSum).Numkeys(3).
			Key(recordKey+r.ID, effectKey+r.ID, processedKey).
			Arg(string(r.State), r.Result, r.Worker, micros(r.AcceptedAt), micros(r.DoneAt), strconv.Itoa(r.Deliveries), ttl).Build())
	}
	commands = append(commands, c.B().Wait().Numreplicas(int64(s.config.Replicas)).Timeout(replicaWait.Milliseconds()).Build())
	answers := c.DoMulti(ctx, commands...)
	waited := s.replicated(answers[len(reports)])
	out := make([]Recorded, len(reports))
	for i := range reports {
		fresh, err := answers[i].AsInt64()
		if err != nil {
			err = fmt.Errorf("record task %s: %w", reports[i].ID, err)
		} else if waited != nil {
			err = fmt.Errorf("record task %s: %w", reports[i].ID, waited)
		}
		out[i] = Recorded{Repeated: fresh == 0 && err == nil, Err: err}
	}
	return out
}

func all(n int, err error) []Recorded {
	out := make([]Recorded, n)
	for i := range out {
		out[i].Err = err
	}
	return out
}

func unknownScript(err error) bool {
	var answer *valkey.ValkeyError
	return errors.As(err, &answer) && strings.HasPrefix(answer.Error(), "NOSCRIPT")
}

func micros(t time.Time) string { return strconv.FormatInt(t.UnixMicro(), 10) }

func fromMicros(text string) time.Time {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

package store

import (
	"context"
	"fmt"
	"strconv"

	"github.com/valkey-io/valkey-go"

	"seatrial/services/task"
)

// Get returns the record of one Task; ok is false if there is none.
func (s *Store) Get(ctx context.Context, id string) (r task.Report, ok bool, err error) {
	c, err := s.client()
	if err != nil {
		return task.Report{}, false, err
	}
	out := c.DoMulti(ctx,
		c.B().Hmget().Key(recordKey+id).Field(fields...).Build(),
		c.B().Get().Key(effectKey+id).Build())
	r, ok, err = report(id, out[0], out[1])
	if err != nil {
		return task.Report{}, false, fmt.Errorf("read task %s: %w", id, err)
	}
	return r, ok, nil
}

// Counts returns the number of keys and of effects that were ever applied.
func (s *Store) Counts(ctx context.Context) (keys, processed int64, err error) {
	c, err := s.client()
	if err != nil {
		return 0, 0, err
	}
	out := c.DoMulti(ctx, c.B().Dbsize().Build(), c.B().Get().Key(processedKey).Build())
	if keys, err = out[0].AsInt64(); err != nil {
		return 0, 0, fmt.Errorf("count keys: %w", err)
	}
	if processed, err = out[1].AsInt64(); err != nil && !valkey.IsValkeyNil(err) {
		return 0, 0, fmt.Errorf("read %s: %w", processedKey, err)
	}
	return keys, processed, nil
}

// Export hands every recorded Task whose id begins with prefix to each, once,
// in no order. An error means that Tasks may be missing: it reads from one
// server, which proves at the start and again at the end that it is the primary.
func (s *Store) Export(ctx context.Context, prefix string, each func(task.Report) error) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	d, release := c.Dedicate()
	defer release()
	if err := s.fence(ctx, d.B(), d.DoMulti); err != nil {
		return fmt.Errorf("export tasks: %w", err)
	}
	seen := map[string]bool{} // SCAN may name a key twice
	for cursor := uint64(0); ; {
		page, err := d.Do(ctx, d.B().Scan().Cursor(cursor).Match(recordKey+prefix+"*").Count(1000).Build()).AsScanEntry()
		if err != nil {
			return fmt.Errorf("scan tasks: %w", err)
		}
		if err := exportPage(ctx, d, page.Elements, seen, each); err != nil {
			return err
		}
		if cursor = page.Cursor; cursor == 0 {
			break
		}
	}
	if err := s.fence(ctx, d.B(), d.DoMulti); err != nil {
		return fmt.Errorf("export tasks: %w", err)
	}
	return nil
}

func exportPage(ctx context.Context, d valkey.DedicatedClient, keys []string, seen map[string]bool, each func(task.Report) error) error {
	var ids []string
	for _, key := range keys {
		if id := key[len(recordKey):]; !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	commands := make(valkey.Commands, 0, 2*len(ids))
	for _, id := range ids {
		commands = append(commands, d.B().Hmget().Key(recordKey+id).Field(fields...).Build(), d.B().Get().Key(effectKey+id).Build())
	}
	out := d.DoMulti(ctx, commands...)
	for i, id := range ids {
		r, ok, err := report(id, out[2*i], out[2*i+1])
		if err != nil {
			return fmt.Errorf("read task %s: %w", id, err)
		}
		if !ok {
			continue // its time was over between SCAN and now
		}
		if err := each(r); err != nil {
			return err
		}
	}
	return nil
}

var fields = []string{"state", "result", "worker", "accepted_at", "done_at", "deliveries"}

// report reads one record out of the answers for its hash and its effect.
func report(id string, hash, effect valkey.ValkeyResult) (task.Report, bool, error) {
	values, err := hash.ToArray()
	if err != nil {
		return task.Report{}, false, err
	}
	text := make([]string, len(fields))
	for i := range text {
		text[i], _ = values[i].ToString() // "" for a field that is not there
	}
	if text[0] == "" {
		return task.Report{}, false, nil
	}
	effects, err := effect.AsInt64()
	if err != nil && !valkey.IsValkeyNil(err) {
		return task.Report{}, false, err
	}
	deliveries, err := strconv.Atoi(text[5])
	if err != nil {
		return task.Report{}, false, fmt.Errorf("deliveries of the record: %w", err)
	}
	return task.Report{
		ID: id, State: task.State(text[0]), Result: text[1], Worker: text[2],
		AcceptedAt: fromMicros(text[3]), DoneAt: fromMicros(text[4]), Deliveries: deliveries, Effects: int(effects),
	}, true, nil
}

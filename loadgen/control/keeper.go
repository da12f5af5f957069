package control

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"seatrial/loadgen/attack"
)

// The states of an attack.
const (
	Running = "running" // until its last answer is in and its files are closed
	Done    = "done"
	Failed  = "failed" // its record is not complete
)

// The files beside those of package attack.
const (
	specFile   = "spec.json"
	statusFile = "status.json"
)

// Status is what the API tells about an attack.
type Status struct {
	ID    string `json:"id"`
	State string `json:"state"`           // Running, Done or Failed
	Error string `json:"error,omitempty"` // why it failed
	attack.Progress
	InFlight uint64         `json:"in_flight"`
	Report   *attack.Report `json:"report,omitempty"` // once it is over
}

// entry is an attack that runs or ran; attack is nil if it ran in an earlier process.
type entry struct {
	attack *attack.Attack
	done   chan struct{}
	status Status // final once done is closed
}

func (e *entry) over() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// Errors of the keeper.
var (
	errUnknown = errors.New("there is no such attack")
	errExists  = errors.New("an attack with this id exists")
)

// keeper holds the attacks of a folder, one subfolder each. What an earlier
// process left there is kept: Evidence outlives a restart.
type keeper struct {
	dir     string
	metrics *attack.Metrics
	log     *slog.Logger

	mu      sync.Mutex
	attacks map[string]*entry
	saving  sync.WaitGroup
}

func openKeeper(dir string, m *attack.Metrics, log *slog.Logger) (*keeper, error) {
	k := &keeper{dir: dir, metrics: m, log: log, attacks: map[string]*entry{}}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open the attacks' folder: %w", err)
	}
	folders, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open the attacks' folder: %w", err)
	}
	for _, f := range folders {
		if f.IsDir() && idPattern.MatchString(f.Name()) {
			k.recall(f.Name())
		}
	}
	return k, nil
}

// recall takes up an attack of an earlier process. Without a readable status it
// did not end: its History is truncated, and so it failed.
func (k *keeper) recall(id string) {
	path := filepath.Join(k.dir, id)
	if _, err := os.Stat(filepath.Join(path, specFile)); err != nil {
		return // not ours
	}
	e := &entry{done: make(chan struct{})}
	close(e.done)
	text, err := os.ReadFile(filepath.Join(path, statusFile))
	if err == nil {
		err = json.Unmarshal(text, &e.status)
	}
	if err != nil {
		e.status = Status{ID: id, State: Failed, Error: "the process that ran it ended before it did: its History is truncated"}
	}
	k.attacks[id] = e
}

// start begins the attack of a valid spec.
func (k *keeper) start(spec Spec) (Status, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.attacks[spec.ID]; ok {
		return Status{}, errExists
	}
	path := filepath.Join(k.dir, spec.ID)
	if err := os.Mkdir(path, 0o755); errors.Is(err, fs.ErrExist) {
		return Status{}, errExists
	} else if err != nil {
		return Status{}, fmt.Errorf("create the attack's folder: %w", err)
	}
	e := &entry{done: make(chan struct{})}
	if err := k.launch(e, spec, path); err != nil {
		return Status{}, errors.Join(err, os.RemoveAll(path))
	}
	k.attacks[spec.ID] = e
	k.saving.Go(func() { k.finish(e, spec.ID, path) })
	k.log.Info("attack started", "id", spec.ID, "target", spec.Target, "profile", spec.Profile.Kind)
	return statusOf(e, spec.ID), nil
}

func (k *keeper) launch(e *entry, spec Spec, path string) error {
	if err := spec.punctual(time.Now()); err != nil {
		return err
	}
	cfg, err := spec.config(path, k.metrics)
	if err != nil {
		return err
	}
	if err := save(filepath.Join(path, specFile), spec); err != nil {
		return err
	}
	e.attack, err = attack.Start(cfg)
	return err
}

// finish waits for the attack and saves how it ended.
func (k *keeper) finish(e *entry, id, path string) {
	rep, err := e.attack.Wait()
	s := Status{ID: id, State: Done, Progress: e.attack.Progress(), Report: &rep}
	s.AskedRate, s.AchievedRate = rep.AskedRate, rep.AchievedRate
	if err != nil {
		s.State, s.Error = Failed, err.Error()
	}
	if err := save(filepath.Join(path, statusFile), s); err != nil {
		s.State, s.Error = Failed, errors.Join(errors.New(s.Error), err).Error()
	}
	k.log.Info("attack over", "id", id, "state", s.State, "error", s.Error, "sent", s.Sent, "achieved", rep.Achieved)
	e.status = s
	close(e.done)
}

func save(path string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

func statusOf(e *entry, id string) Status {
	if e.over() {
		return e.status
	}
	p := e.attack.Progress()
	return Status{ID: id, State: Running, Progress: p, InFlight: p.InFlight()}
}

func (k *keeper) find(id string) (*entry, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if e, ok := k.attacks[id]; ok {
		return e, nil
	}
	return nil, errUnknown
}

// list returns all attacks, by id.
func (k *keeper) list() []Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make([]Status, 0, len(k.attacks))
	for id, e := range k.attacks {
		all = append(all, statusOf(e, id))
	}
	slices.SortFunc(all, func(a, b Status) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// stop ends the sending and waits for the last answer, or for ctx: the attack
// ends all the same when its caller has gone.
func (e *entry) stop(ctx context.Context) error {
	if e.attack != nil {
		e.attack.Stop()
	}
	select {
	case <-e.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close stops all attacks and waits until they are saved.
func (k *keeper) close() {
	k.mu.Lock()
	for _, e := range k.attacks {
		if e.attack != nil {
			e.attack.Stop()
		}
	}
	k.mu.Unlock()
	k.saving.Wait()
}

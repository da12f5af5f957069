// Package shelf is a folder of reports, a folder each run, as others may see it: an
// index, the files, and the newest results as Prometheus metrics.
//
// It judges nothing, and changes nothing but that it takes old runs away when it is
// told to. It must not know how a run is held, and believes a verdict.json no more
// than it can read of it.
package shelf

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"seatrial/verifier/evidence"
)

// largest is the size, in bytes, up to which a verdict.json is read.
const largest = 64 << 20

// Shelf is a folder of reports. What is in it may change at any time.
type Shelf struct {
	root *os.Root // nothing outside of the folder can be reached through it

	mu    sync.Mutex
	known map[string]cached
}

// cached is what a verdict.json said when it was like this.
type cached struct {
	changed time.Time
	size    int64
	run     *evidence.Run
	err     error
}

// Run is a run on the shelf.
type Run struct {
	Folder string
	// Verdict is nil when Err says why there is none.
	Verdict *evidence.Run
	// Err is ErrNoVerdict, or says what is wrong with the verdict.json.
	Err error
	// Report says whether there is a report.html.
	Report bool
}

// ErrNoVerdict is the Err of a run that has none: it is being held, or was killed.
var ErrNoVerdict = errors.New("no verdict: it is being held, or was ended")

// Open opens the folder at path, which must be there.
func Open(path string) (*Shelf, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("open the reports' folder: %w", err)
	}
	return &Shelf{root: root, known: map[string]cached{}}, nil
}

// Close closes the folder.
func (s *Shelf) Close() error { return s.root.Close() }

// Runs are the runs, the newest first: by the time at which their verdict says that
// they started; those without one come first, by name. A verdict.json that was read
// before is read again only when its time or size has changed.
func (s *Shelf) Runs() ([]Run, error) {
	entries, err := fs.ReadDir(s.root.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("read the reports' folder %s: %w", s.root.Name(), err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var runs []Run
	fresh := map[string]cached{}
	for _, e := range entries {
		if !e.IsDir() || e.Name()[0] == '.' || e.Name() == "lost+found" {
			continue // such as the link "latest"
		}
		c := s.read(e.Name())
		fresh[e.Name()] = c
		_, err := s.root.Stat(e.Name() + "/report.html")
		runs = append(runs, Run{Folder: e.Name(), Verdict: c.run, Err: c.err, Report: err == nil})
	}
	s.known = fresh // what is gone is forgotten
	slices.SortStableFunc(runs, newestFirst)
	return runs, nil
}

func newestFirst(a, b Run) int {
	switch {
	case a.Verdict == nil && b.Verdict == nil:
		return cmp.Compare(b.Folder, a.Folder)
	case a.Verdict == nil:
		return -1
	case b.Verdict == nil:
		return 1
	}
	return cmp.Or(b.Verdict.Started.Compare(a.Verdict.Started), cmp.Compare(b.Folder, a.Folder))
}

// read reads the verdict of a run, or knows it.
func (s *Shelf) read(folder string) cached {
	path := folder + "/" + evidence.VerdictFile
	info, err := s.root.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return cached{err: ErrNoVerdict}
	}
	if err != nil {
		return cached{err: err}
	}
	if old, ok := s.known[folder]; ok && old.changed.Equal(info.ModTime()) && old.size == info.Size() {
		return old
	}
	c := cached{changed: info.ModTime(), size: info.Size()}
	c.run, c.err = s.load(path, info)
	return c
}

func (s *Shelf) load(path string, info fs.FileInfo) (*evidence.Run, error) {
	if !info.Mode().IsRegular() || info.Size() > largest {
		return nil, fmt.Errorf("%s is no file of at most %d MiB", path, largest>>20)
	}
	f, err := s.root.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, largest))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	var run evidence.Run
	if err := json.Unmarshal(data, &run); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if run.Run == "" || run.Target == "" || run.Started.IsZero() {
		return nil, fmt.Errorf("read %s: it is not a run's verdict: run, target or started is missing", path)
	}
	return &run, nil
}

// Newest are the newest runs with a verdict, one for each target, by target.
func Newest(runs []Run) []Run {
	var newest []Run
	for _, r := range runs { // the newest first
		if r.Verdict != nil && !slices.ContainsFunc(newest, func(n Run) bool { return n.Verdict.Target == r.Verdict.Target }) {
			newest = append(newest, r)
		}
	}
	slices.SortFunc(newest, func(a, b Run) int { return cmp.Compare(a.Verdict.Target, b.Verdict.Target) })
	return newest
}

// abandoned is the age from which a run without a verdict counts as over: no run
// takes so long.
const abandoned = 7 * 24 * time.Hour

// Prune removes the folders of all but the newest runs, of which it keeps as many as
// keep says, and returns their names. A run without a verdict is none of them: it
// goes when it has not changed for a week. What is no run's folder stays.
func (s *Shelf) Prune(keep int, now time.Time) ([]string, error) {
	runs, err := s.Runs()
	if err != nil {
		return nil, err
	}
	var removed []string
	var errs []error
	for _, r := range runs {
		if r.Verdict != nil && keep > 0 {
			keep--
			continue
		}
		if r.Verdict == nil && !s.isAbandoned(r.Folder, now) {
			continue
		}
		if err := s.root.RemoveAll(r.Folder); err != nil {
			errs = append(errs, fmt.Errorf("remove the run %s: %w", r.Folder, err))
			continue
		}
		removed = append(removed, r.Folder)
	}
	return removed, errors.Join(errs...)
}

// isAbandoned says whether a folder is that of a run, which always writes godog.txt,
// and has not changed for long.
func (s *Shelf) isAbandoned(folder string, now time.Time) bool {
	log, err := s.root.Stat(folder + "/godog.txt")
	return err == nil && now.Sub(log.ModTime()) > abandoned
}

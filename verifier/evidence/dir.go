// Package evidence is what a trial leaves behind: the plan, what was seen, the
// History, what the system holds, and the verdict, as files in a folder that
// can be judged again, offline, by a later seatrial.
//
// It holds the shapes and the file names. It judges nothing, and knows no
// network.
package evidence

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// The files of a trial's folder.
const (
	PlanFile     = "plan.json"
	RecordFile   = "record.json"
	HistoryFile  = "history.seatrial"
	HeldFile     = "held.ndjson" // the system's answer to GET /tasks?prefix=…
	SamplesFile  = "samples.json"
	VerdictFile  = "verdict.json"
	ManifestsDir = "manifests" // experiments as they were applied
	LogsDir      = "logs"
)

// trialsDir is where a run's folder has those of its trials.
const trialsDir = "evidence"

// Dir is a trial's folder.
type Dir string

// InRun returns the folder's place in its run's, wherever that may be.
func (d Dir) InRun() string {
	abs, err := filepath.Abs(string(d))
	if err != nil {
		abs = string(d)
	}
	return filepath.Join(trialsDir, filepath.Base(abs))
}

// New makes the folder of a trial called name below run.
func New(run, name string) (Dir, error) {
	dir, err := NewFolder(filepath.Join(run, trialsDir), Slug(name))
	if err != nil {
		return "", fmt.Errorf("make evidence folder: %w", err)
	}
	return Dir(dir), nil
}

// NewFolder makes a folder that was not there before below parent, and parent
// if need be: called name, or name-2, name-3, ... where that is taken.
func NewFolder(parent, name string) (string, error) {
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", err
	}
	dir := filepath.Join(parent, name)
	for n := 2; ; n++ {
		err := os.Mkdir(dir, 0o755)
		if err == nil {
			return dir, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", err
		}
		dir = filepath.Join(parent, fmt.Sprintf("%s-%d", name, n))
	}
}

// Slug turns a scenario's name into a file name.
func Slug(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case unicode.IsLetter(r) && r < 128, unicode.IsDigit(r) && r < 128:
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.TrimSuffix(b.String(), "-")
}

// Path returns the path of a file in the folder.
func (d Dir) Path(elem ...string) string {
	return filepath.Join(append([]string{string(d)}, elem...)...)
}

// Save writes v as indented JSON, whole or not at all.
func (d Dir) Save(file string, v any) error { return SaveJSON(d.Path(file), v) }

// Load reads a JSON file of the folder; an error names the file.
func (d Dir) Load(file string, v any) error { return LoadJSON(d.Path(file), v) }

// SaveJSON writes v as indented JSON to path, whole or not at all.
func SaveJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	part := path + ".part"
	if err := os.WriteFile(part, append(data, '\n'), 0o644); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(part))
	}
	if err := os.Rename(part, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// LoadJSON reads the JSON file at path; an error names the file.
func LoadJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read evidence: %w", err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read evidence %s: %w", path, err)
	}
	return nil
}

// Trials lists the trials' folders of a run, or dir itself when it is one
// trial's. No trial at all is an error that names dir.
func Trials(dir string) ([]Dir, error) {
	if _, err := os.Stat(filepath.Join(dir, PlanFile)); err == nil {
		return []Dir{Dir(dir)}, nil
	}
	plans, _ := filepath.Glob(filepath.Join(dir, trialsDir, "*", PlanFile))
	if len(plans) == 0 {
		return nil, fmt.Errorf("%s is not evidence: no %s in it, nor in %s", dir, PlanFile, filepath.Join(dir, trialsDir, "*"))
	}
	var dirs []Dir
	for _, p := range plans {
		dirs = append(dirs, Dir(filepath.Dir(p)))
	}
	return dirs, nil
}

// SortByStart puts scenarios in the order in which they were run.
func SortByStart(all []Scenario) {
	slices.SortStableFunc(all, func(a, b Scenario) int { return a.Started.Compare(b.Started) })
}

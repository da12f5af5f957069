package report

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"seatrial/verifier/evidence"
)

// material is what was found in a trial's folder, and what was not.
type material struct {
	timeline   *timeline
	noTimeline string // why there is none, as a sentence
	samples    []evidence.Series
	plan       *evidence.Plan

	Manifests []manifest
	Files     []file
	Missing   []string // sentences
}

// manifest is an experiment as it was applied.
type manifest struct{ Name, Text string }

// file is a piece of raw data.
type file struct{ Name, What, Link, Size string }

// Sizes that the page takes in; the rest is behind the links.
const (
	manifestMax = 16 << 10
	manifests   = 12
	filesMax    = 60
)

// Load says what load was planned, or "" when no plan is there.
func (m material) Load() string {
	if m.plan == nil || m.plan.Load.Profile == "" {
		return ""
	}
	l := &m.plan.Load
	words := fmt.Sprintf("%s, %s a second", l.Profile, rate(l.Rate))
	if l.Peak > 0 {
		words += fmt.Sprintf(" up to %s", rate(l.Peak))
	}
	if l.Scale > 0 {
		words += fmt.Sprintf(" (%.3g times what the scenario says)", l.Scale)
	}
	if l.RepeatRatio > 0 {
		words += ", " + share(l.RepeatRatio) + " repeats"
	}
	if l.Timeout > 0 {
		words += fmt.Sprintf(", clients wait %v", l.Timeout)
	}
	return words
}

// known are the files that Evidence has, in the order that a reader wants them.
var known = []struct{ name, what string }{
	{evidence.VerdictFile, "verdict"},
	{evidence.PlanFile, "plan: what was to be done and judged"},
	{evidence.RecordFile, "record: what was seen"},
	{evidence.HistoryFile, "History: every request"},
	{evidence.HeldFile, "what the system held at the end"},
	{evidence.SamplesFile, "samples of every query"},
	{"results.bin", "Vegeta's results"},
	{"hdr.txt", "Vegeta's HDR histogram"},
	{"plot.html", "Vegeta's interactive plot"},
}

// gather reads a trial's folder.
func gather(run string, s *evidence.Scenario) material {
	var m material
	home, ok := inside(run, s.Evidence)
	if !ok {
		m.miss("The folder of this scenario's Evidence is not in the run's folder: %s", quoteOrNone(s.Evidence))
		m.noTimeline = "There is no Evidence to draw."
		return m
	}
	if info, err := os.Stat(home); err != nil || !info.IsDir() {
		m.miss("The folder of this scenario's Evidence is not there: %s", s.Evidence)
		m.noTimeline = "There is no Evidence to draw."
		return m
	}
	m.readHistory(home, s)
	m.readJSON(home)
	m.readManifests(home, s)
	m.list(run, home, s)
	return m
}

func (m *material) miss(format string, args ...any) {
	m.Missing = append(m.Missing, fmt.Sprintf(format, args...))
}

func quoteOrNone(s string) string {
	if s == "" {
		return "none is named"
	}
	return s
}

// inside resolves a folder of Evidence, which may be named relative to the run
// or absolutely, and says whether it lies in the run's folder.
func inside(run, named string) (string, bool) {
	if named == "" {
		return "", false
	}
	if filepath.IsAbs(named) {
		abs, err := filepath.Abs(run)
		if err != nil {
			return "", false
		}
		if named, err = filepath.Rel(abs, named); err != nil {
			return "", false
		}
	}
	if !filepath.IsLocal(named) {
		return "", false
	}
	return filepath.Join(run, named), true
}

// folderLink is the way to a folder of the run, "" when it is not there.
func folderLink(run, named string) string {
	home, ok := inside(run, named)
	if info, err := os.Stat(home); !ok || err != nil || !info.IsDir() {
		return ""
	}
	rel, err := filepath.Rel(run, home)
	if err != nil {
		return ""
	}
	return "./" + (&url.URL{Path: filepath.ToSlash(rel) + "/"}).EscapedPath()
}

func (m *material) readHistory(home string, s *evidence.Scenario) {
	t, err := readTimeline(filepath.Join(home, evidence.HistoryFile), s.Windows)
	switch {
	case err != nil:
		m.noTimeline = "There is no History to draw: " + err.Error()
		m.miss("%s", m.noTimeline)
	case len(t.buckets) == 0 && t.cut == nil:
		m.noTimeline = "The History holds no requests."
		m.miss("%s", m.noTimeline)
	case len(t.buckets) == 0:
		m.noTimeline = "The History is cut before its first request: " + t.cut.Error()
		m.miss("%s", m.noTimeline)
	case t.cut != nil:
		m.miss("The History is cut; the time line shows what could be read: %v", t.cut)
	}
	m.timeline = t
}

func (m *material) readJSON(home string) {
	if err := evidence.LoadJSON(filepath.Join(home, evidence.SamplesFile), &m.samples); err != nil {
		m.miss("No samples: %v", err)
	}
	var plan evidence.Plan
	if err := evidence.LoadJSON(filepath.Join(home, evidence.PlanFile), &plan); err != nil {
		m.miss("No plan: %v", err)
	} else {
		m.plan = &plan
	}
}

func (m *material) readManifests(home string, s *evidence.Scenario) {
	paths, _ := filepath.Glob(filepath.Join(globEscape(home), evidence.ManifestsDir, "*.yaml"))
	for _, path := range paths[:min(len(paths), manifests)] {
		text, err := os.ReadFile(path)
		if err != nil {
			m.miss("No manifest: %v", err)
			continue
		}
		if len(text) > manifestMax {
			text = append(text[:manifestMax:manifestMax], "\n… (see the file)"...)
		}
		m.Manifests = append(m.Manifests, manifest{filepath.Base(path), strings.TrimSpace(string(text))})
	}
	if len(paths) == 0 && len(s.Experiments) > 0 {
		m.miss("No manifests of the experiments as they were applied.")
	}
}

// globEscape makes a path mean itself in a pattern.
func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// list names the files that are there, the known ones first, and those known
// ones that are not.
func (m *material) list(run, home string, s *evidence.Scenario) {
	found := map[string]int64{}
	_ = filepath.WalkDir(home, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || len(found) > 10*filesMax {
			return nil // what cannot be read is not listed
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			rel, _ := filepath.Rel(home, path)
			found[filepath.ToSlash(rel)] = info.Size()
		}
		return nil
	})
	base, _ := filepath.Rel(run, home)
	add := func(name, what string) {
		link := &url.URL{Path: filepath.ToSlash(filepath.Join(base, name))}
		m.Files = append(m.Files, file{name, what, "./" + link.EscapedPath(), size(found[name])})
		delete(found, name)
	}
	var absent []string
	for _, k := range known {
		if _, ok := found[k.name]; ok {
			add(k.name, k.what)
		} else {
			absent = append(absent, k.name)
		}
	}
	m.listRest(found, add)
	if len(absent) > 0 {
		m.miss("Not in the Evidence: %s.", strings.Join(absent, ", "))
	}
}

// listRest lists files of other names, manifests and logs mostly.
func (m *material) listRest(found map[string]int64, add func(name, what string)) {
	var rest []string
	for name := range found {
		rest = append(rest, name)
	}
	slices.Sort(rest)
	for i, name := range rest {
		if i == filesMax {
			m.miss("%s more in the folder.", plural(len(rest)-i, "file"))
			break
		}
		what := ""
		switch {
		case strings.HasPrefix(name, evidence.LogsDir+"/"):
			what = "log"
		case strings.HasPrefix(name, evidence.ManifestsDir+"/"):
			what = "experiment, as applied"
		}
		add(name, what)
	}
}

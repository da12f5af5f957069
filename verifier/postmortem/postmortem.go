// Package postmortem writes the skeleton of a post-mortem out of a trial's
// Evidence: what happened when, what it cost, and where each line can be looked
// up. What only people know (why, what went well, what to do) it leaves as
// sections to fill.
//
// It judges nothing, asks nobody and draws nothing: it must not know a network,
// a testbed or the report.
package postmortem

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"seatrial/verifier/evidence"
)

// File is the skeleton's name in a trial's folder. All links in it are relative
// to that folder.
const File = "postmortem.md"

// Moments that only people know of; a time line may have any others.
const (
	Acknowledged = "acknowledged" // somebody said that they are at it
	Mitigated    = "mitigated"    // the crew said that its mitigation works
)

// Case is what a post-mortem is written from.
type Case struct {
	Scenario evidence.Scenario
	Plan     evidence.Plan
	Record   evidence.Record   // the zero value where the trial left none
	Files    []string          // in the trial's folder, relative to it, sorted; only these are linked
	Moments  []evidence.Marker // beside those of the trial, in any order
}

// Save writes the skeleton into a trial's folder, from its files and its verdict.
// A record that is missing, because the trial was killed, leaves its lines out.
func Save(dir evidence.Dir, s evidence.Scenario, moments ...evidence.Marker) error {
	c := Case{Scenario: s, Moments: moments}
	if err := dir.Load(evidence.PlanFile, &c.Plan); err != nil {
		return fmt.Errorf("write post-mortem: %w", err)
	}
	if err := dir.Load(evidence.RecordFile, &c.Record); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write post-mortem: %w", err)
	}
	var err error
	if c.Files, err = files(dir); err != nil {
		return fmt.Errorf("write post-mortem: %w", err)
	}
	var page bytes.Buffer
	if err := Write(&page, c); err != nil {
		return err
	}
	if err := os.WriteFile(dir.Path(File), page.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write post-mortem: %w", err)
	}
	return nil
}

func files(dir evidence.Dir) (all []string, err error) {
	root := dir.Path()
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if rel = filepath.ToSlash(rel); rel != File {
			all = append(all, rel)
		}
		return err
	})
	return all, err
}

// Write writes the skeleton as Markdown.
func Write(w io.Writer, c Case) error {
	var b strings.Builder
	for _, part := range []func(*strings.Builder, *Case){
		head, impact, timeLine, splits, fault, diagnoses, questions, data,
	} {
		part(&b, &c)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write post-mortem: %w", err)
	}
	return nil
}

func head(b *strings.Builder, c *Case) {
	s := &c.Scenario
	fmt.Fprintf(b, "# Post-mortem: %s\n\n", plain(s.Name))
	b.WriteString("A skeleton, written by seatrial from the Evidence beside it. The lines in *italics* are for people to replace.\n\n")
	b.WriteString("| | |\n|---|---|\n")
	row := func(name, text string) { fmt.Fprintf(b, "| %s | %s |\n", name, text) }
	verdict := s.Status.String()
	if s.Reason != "" {
		verdict += ": " + plain(s.Reason)
	}
	row("Verdict", verdict)
	row("Began", stamp(s.Started)+" UTC")
	row("Testbed", fmt.Sprintf("%s, seed %d", plain(s.Target), c.Plan.Seed))
	row("Load", fmt.Sprintf("%s, %.4g requests/s asked, %.4g achieved", plain(c.Plan.Load.Profile), s.AskedRate, s.AchievedRate))
	if s.Runbook != "" {
		row("Runbook", fmt.Sprintf("[%s](../../runbooks/%s.md)", plain(s.Runbook), s.Runbook))
	}
	row("Report", "[report.html](../../report.html)")
	row("Written by", "*names*")
	b.WriteString("\n## Summary\n\n*What users noticed, for how long, why, and what ended it, in three sentences.*\n\n")
}

// dated is a line of the time line with where to look it up.
type dated struct {
	evidence.Marker
	data string // Markdown
}

// line joins the trial's moments with those of people, in order.
func (c *Case) line() (all []dated) {
	s := &c.Scenario
	for _, m := range s.Markers {
		all = append(all, dated{m, c.source(m.Name)})
	}
	for _, m := range c.Moments {
		all = append(all, dated{m, "said by people"})
	}
	add := func(from time.Time, seconds float64, name, file string) {
		if !from.IsZero() && seconds >= 0 {
			at := from.Add(time.Duration(seconds * float64(time.Second)))
			all = append(all, dated{evidence.Marker{Name: name, At: at}, c.link(file)})
		}
	}
	add(c.inForce(), s.Seconds.InForceToDeviation, "users notice: first second with too few good answers", evidence.HistoryFile)
	add(c.Record.RemovedAt, s.Seconds.BacklogDrained, "backlog drained", evidence.SamplesFile)
	slices.SortStableFunc(all, func(a, b dated) int { return a.At.Compare(b.At) })
	return all
}

// source says where a moment of the trial can be looked up.
func (c *Case) source(name string) string {
	if x, ok := strings.CutPrefix(name, "injected "); ok {
		return c.link(evidence.ManifestsDir + "/" + x + ".yaml")
	}
	if strings.HasPrefix(name, "in force: ") {
		return "[query](#queries)"
	}
	for _, prefix := range []string{"alert ", "resolved "} {
		if x, ok := strings.CutPrefix(name, prefix); ok {
			return c.alertLink(x)
		}
	}
	return c.link(evidence.RecordFile)
}

func (c *Case) alertLink(name string) string {
	for _, a := range c.Scenario.Alerts {
		if a.Name == name && a.RunbookURL != "" {
			return fmt.Sprintf("[runbook](%s), %s", target(a.RunbookURL), c.link(evidence.RecordFile))
		}
	}
	return c.link(evidence.RecordFile)
}

// link names a file of the trial, as a link if it is there.
func (c *Case) link(file string) string {
	if slices.Contains(c.Files, file) {
		return fmt.Sprintf("[%s](%s)", file, target(file))
	}
	return plain(file) + " (missing)"
}

// inForce is when the last fault was proven, zero if one was not.
func (c *Case) inForce() (last time.Time) {
	for _, p := range c.Scenario.Proofs {
		if p.InForceAt == nil {
			return time.Time{}
		}
		if p.InForceAt.After(last) {
			last = *p.InForceAt
		}
	}
	return last
}

func timeLine(b *strings.Builder, c *Case) {
	all := c.line()
	zero, from := c.Scenario.Started, "start of the trial"
	if at := c.Record.InjectAt; !at.IsZero() {
		zero, from = at, "injection"
	}
	b.WriteString("## Time line\n\n")
	fmt.Fprintf(b, "Times are UTC; seconds count from the %s.\n\n", from)
	b.WriteString("| time | seconds | what | data |\n|---|--:|---|---|\n")
	for _, d := range all {
		fmt.Fprintf(b, "| %s | %+.1f | %s | %s |\n", d.At.UTC().Format("15:04:05.0"), d.At.Sub(zero).Seconds(), plain(d.Name), d.data)
	}
	b.WriteString("| *time* | | *what people saw, thought and did* | *chat, dashboard* |\n\n")
}

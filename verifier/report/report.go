// Package report turns the Evidence of a run into what people and CI systems
// read: report.html (one file that asks nobody for anything), junit.xml,
// summary.md and the closing lines on a terminal.
//
// It repeats verdicts and draws what the History shows; it judges nothing. It
// knows files and no network, and it must not know how a trial is run. Evidence
// that is missing or damaged is said on the page: a report is wanted most when
// something went wrong.
package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"seatrial/verifier/evidence"
)

// The files that Write makes in a run's folder.
const (
	HTMLFile    = "report.html"
	JUnitFile   = "junit.xml"
	SummaryFile = "summary.md"
)

// Write reads the run in the folder dir, which holds verdict.json and a folder
// of Evidence a scenario, and writes report.html, junit.xml and summary.md next
// to it. Only a verdict.json that cannot be read, or a folder that cannot be
// written to, is an error; then the other files are still written if they can be.
func Write(dir string) error {
	var run evidence.Run
	if err := evidence.LoadJSON(filepath.Join(dir, evidence.VerdictFile), &run); err != nil {
		return fmt.Errorf("report on %s: %w", dir, err)
	}
	err := errors.Join(
		write(dir, HTMLFile, func(w io.Writer) error { return html(w, dir, &run) }),
		write(dir, JUnitFile, func(w io.Writer) error { return junit(w, &run) }),
		write(dir, SummaryFile, func(w io.Writer) error { return summary(w, &run) }),
	)
	if err != nil {
		return fmt.Errorf("report on %s: %w", dir, err)
	}
	return nil
}

// write makes one file, whole or not at all.
func write(dir, name string, fill func(io.Writer) error) error {
	var b bytes.Buffer
	if err := fill(&b); err != nil {
		return fmt.Errorf("make %s: %w", name, err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".part", b.Bytes(), 0o644); err != nil {
		return errors.Join(err, os.RemoveAll(path+".part"))
	}
	return os.Rename(path+".part", path)
}

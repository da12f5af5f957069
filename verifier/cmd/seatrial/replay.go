package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"seatrial/verifier/confusion"
	"seatrial/verifier/evidence"
	"seatrial/verifier/postmortem"
	"seatrial/verifier/report"
	"seatrial/verifier/trial"
	"seatrial/verifier/verdict"
)

func newReplayCommand() *cobra.Command {
	return &cobra.Command{
		Use: "replay DIR", Short: "judge old Evidence again, offline", Args: oneFolder,
		Long: "replay judges the Evidence of a run (or of one trial) again, from its files alone.\n" +
			"It writes the run's verdict and reports anew, or the one trial's verdict, and the skeleton of a\n" +
			"post-mortem for each trial that has failed and has none.",
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := filepath.Clean(args[0])
			trials, err := evidence.Trials(dir)
			if err != nil {
				return err
			}
			if trials[0] == evidence.Dir(dir) {
				return replayTrial(cmd.OutOrStdout(), trials[0])
			}
			r, err := replay(dir, trials)
			if err != nil {
				return err
			}
			if err := finish(cmd.OutOrStdout(), dir, r); err != nil {
				return err
			}
			return exitOf(r.Status)
		},
	}
}

// replayTrial judges one trial again. Its folder holds a trial's verdict, not a
// run's, and gets no report.
func replayTrial(out io.Writer, dir evidence.Dir) error {
	s, err := judgeAgain(dir)
	if err != nil {
		return err
	}
	var plan evidence.Plan
	if err := dir.Load(evidence.PlanFile, &plan); err != nil {
		return err
	}
	r := &evidence.Run{
		Run: filepath.Base(string(dir)), Seed: plan.Seed, Target: plan.Target, LoadScale: plan.Load.Scale, Status: s.Status,
		Scenarios: []evidence.Scenario{*s},
	}
	var rec evidence.Record
	if dir.Load(evidence.RecordFile, &rec) == nil { // a killed trial has none
		r.Seconds = rec.Stopped.Sub(rec.Started).Seconds()
	}
	report.Terminal(out, r)
	fmt.Fprintf(out, "verdict: %s\n", dir.Path(evidence.VerdictFile))
	return exitOf(s.Status)
}

// replay judges the trials of the run in dir and keeps of its old verdict what
// only the run could know. A run that was killed has none; one that cannot be
// read is about to be replaced anyway.
func replay(dir string, trials []evidence.Dir) (*evidence.Run, error) {
	r := &evidence.Run{}
	if evidence.LoadJSON(filepath.Join(dir, evidence.VerdictFile), r) != nil || r.Run == "" {
		var plan evidence.Plan
		if err := trials[0].Load(evidence.PlanFile, &plan); err != nil {
			return nil, err
		}
		r = &evidence.Run{Run: filepath.Base(dir), Seed: plan.Seed, Target: plan.Target, LoadScale: plan.Load.Scale, Versions: plan.Versions}
	}
	r.Scenarios = nil
	for _, d := range trials {
		s, err := judgeAgain(d)
		if err != nil {
			return nil, err
		}
		r.Scenarios = append(r.Scenarios, *s)
	}
	evidence.SortByStart(r.Scenarios)
	r.Confusion = confusion.Confusion(r.Scenarios)
	if r.Started.IsZero() {
		r.Started = r.Scenarios[0].Started
	}
	return r, nil
}

func newReportCommand() *cobra.Command {
	return &cobra.Command{
		Use: "report DIR", Short: "write report.html, junit.xml and summary.md of a run anew", Args: oneFolder,
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := os.Stat(filepath.Join(args[0], evidence.PlanFile)); err == nil {
				return fmt.Errorf("%s is the folder of one trial; the report is of a run: name the folder with %s", args[0], report.HTMLFile)
			}
			var r evidence.Run
			if err := evidence.LoadJSON(filepath.Join(args[0], evidence.VerdictFile), &r); err != nil {
				return err
			}
			if err := report.Write(args[0]); err != nil {
				return err
			}
			report.Terminal(cmd.OutOrStdout(), &r)
			fmt.Fprintf(cmd.OutOrStdout(), "report: %s\n", filepath.Join(args[0], "report.html"))
			return nil
		},
	}
}

// mourn leaves the skeleton of a post-mortem beside a trial that failed. One that is there
// stays: people may have filled it.
func mourn(dir evidence.Dir, s *evidence.Scenario) error {
	if _, err := os.Stat(dir.Path(postmortem.File)); err == nil || s.Status != verdict.Fail {
		return nil
	}
	return postmortem.Save(dir, *s)
}

// judgeAgain judges a trial that was held at another time.
func judgeAgain(dir evidence.Dir) (*evidence.Scenario, error) {
	s, err := trial.Judge(dir)
	if err != nil {
		return nil, err
	}
	return s, mourn(dir, s)
}

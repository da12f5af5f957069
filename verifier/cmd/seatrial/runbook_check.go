package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"seatrial/experiments"
	"seatrial/verifier/runbook"
)

func newRunbookCheckCommand() *cobra.Command {
	var promtool, manifests string
	cmd := &cobra.Command{
		Use: "check [DIR]", Short: "find every mistake in the runbooks of a folder, or in those built in", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := ""
			if len(args) == 1 {
				dir = args[0]
			}
			out := cmd.OutOrStdout()
			set, err := readRunbooks("runbook check", dir)
			var m runbook.Mistake
			switch {
			case errors.As(err, &m):
				return printMistakes(out, err)
			case err != nil:
				return err
			}
			known, err := experimentNames(manifests)
			if err != nil {
				return err
			}
			dir = nameOr(dir, "runbooks")
			wrong, how, err := grammar(cmd.Context(), promtool, dir, set)
			if err != nil {
				return err
			}
			if err := told(append(unknownExperiments(dir, set, known), wrong...)); err != nil {
				return printMistakes(out, err)
			}
			fmt.Fprintf(out, "%d runbooks without a mistake; %s\n", len(set), how)
			return nil
		},
	}
	cmd.Flags().StringVar(&promtool, "promtool", "", "let this `FILE` parse the queries (default: promtool of .deps/bin beside this program's folder, or on PATH)")
	cmd.Flags().StringVar(&manifests, "experiments", "", "folder `DIR` of Chaos Mesh manifests that causes may name (default: those built in)")
	return cmd
}

// told joins mistakes by file and line.
func told(all []runbook.Mistake) error {
	slices.SortStableFunc(all, func(a, b runbook.Mistake) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	var errs []error
	for _, m := range all {
		errs = append(errs, m)
	}
	return errors.Join(errs...)
}

func experimentNames(dir string) ([]string, error) {
	files, err := folder("--experiments", dir, nil)
	if err != nil || files == nil {
		return experiments.Embedded().Names(), err
	}
	set, err := experiments.Load(files)
	if err != nil {
		return nil, err
	}
	return set.Names(), nil
}

// unknownExperiments finds causes and mitigations that name an experiment that is not there.
func unknownExperiments(dir string, set runbook.Set, known []string) (wrong []runbook.Mistake) {
	for _, name := range set.Names() {
		look := func(line int, what string, experiments []string) {
			for _, e := range experiments {
				if !slices.Contains(known, e) {
					wrong = append(wrong, runbook.Mistake{
						File: filepath.Join(dir, name+".md"), Line: line,
						Text: fmt.Sprintf("%s %q, and there is no such experiment", what, e),
					})
				}
			}
		}
		for _, c := range set[name].Causes {
			look(c.Line, fmt.Sprintf("the cause %q is injected by", c.Name), c.Injected)
		}
		for _, m := range set[name].Mitigations {
			look(m.Line, "the commands mitigate", m.Mitigates)
		}
	}
	return wrong
}

// findPromtool is the one that is asked for, else one that is there, else "".
func findPromtool(file string) (string, error) {
	if file != "" {
		path, err := exec.LookPath(file)
		if err != nil {
			return "", fmt.Errorf("--promtool: %w", err)
		}
		return path, nil
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(filepath.Dir(self)), ".deps", "bin", "promtool")
		if path, err := exec.LookPath(beside); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath("promtool")
	if err != nil {
		return "", nil // brackets and quotes have been looked at; the report says so
	}
	return path, nil
}

// asked is a query as Prometheus gets it, and where it stands.
type asked struct {
	file string
	line int
	expr string
}

// queries are all that people paste and trials ask.
func queries(dir string, set runbook.Set) (all []asked) {
	for _, name := range set.Names() {
		b := set[name]
		steps := slices.Clone(b.Diagnosis)
		for _, c := range b.Causes {
			steps = append(steps, c.Steps...)
		}
		for _, s := range steps {
			if s.Kind != runbook.PromQL {
				continue
			}
			q := asked{filepath.Join(dir, name+".md"), s.Line, s.Query}
			all = append(all, q)
			if s.Expectation != nil {
				q.expr = s.Expectation.Holds(s.Query)
				all = append(all, q)
			}
		}
	}
	return all
}

// complaint is a line of promtool's about a rule that grammar has numbered.
var complaint = regexp.MustCompile(`"seatrial:query(\d+)": (?:could not parse expression: )?(.*)`)

// grammar lets promtool parse every query, and says how it was done.
func grammar(ctx context.Context, file, dir string, set runbook.Set) (wrong []runbook.Mistake, how string, err error) {
	promtool, err := findPromtool(file)
	if err != nil || promtool == "" {
		return nil, "there is no promtool: queries were looked through for brackets and quotes alone", err
	}
	all := queries(dir, set)
	rules, err := asRules(all)
	if err != nil {
		return nil, "", err
	}
	defer os.Remove(rules)
	output, runErr := exec.CommandContext(ctx, promtool, "check", "rules", rules).CombinedOutput()
	seen := map[int]bool{} // the first complaint about a line: its query's, before that about the whole
	for _, m := range complaint.FindAllStringSubmatch(string(output), -1) {
		i, err := strconv.Atoi(m[1])
		if err != nil || i >= len(all) {
			return nil, "", fmt.Errorf("promtool names a rule that is not there: %s", m[0])
		}
		if key := slices.IndexFunc(all, func(q asked) bool { return q.file == all[i].file && q.line == all[i].line }); !seen[key] {
			seen[key] = true
			wrong = append(wrong, runbook.Mistake{File: all[i].file, Line: all[i].line, Text: "the query is no PromQL: " + m[2]})
		}
	}
	if runErr != nil && len(wrong) == 0 {
		return nil, "", fmt.Errorf("let %s parse the queries: %w: %s", promtool, runErr, output)
	}
	return wrong, fmt.Sprintf("%d queries parsed by %s", len(all), promtool), nil
}

// asRules writes queries as a file of rules, which promtool parses.
func asRules(all []asked) (string, error) {
	type rule struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	var rules []rule
	for i, q := range all {
		rules = append(rules, rule{fmt.Sprintf("seatrial:query%d", i), q.expr})
	}
	text, err := yaml.Marshal(map[string]any{"groups": []map[string]any{{"name": "runbooks", "rules": rules}}})
	if err != nil {
		return "", fmt.Errorf("write the queries as rules: %w", err)
	}
	f, err := os.CreateTemp("", "seatrial-queries-*.yaml")
	if err != nil {
		return "", err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

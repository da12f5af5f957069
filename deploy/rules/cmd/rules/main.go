// Command rules writes the alert rules of deploy/rules from its objectives and causes, or says which
// of them are not up to date.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"seatrial/deploy/rules/objective"
)

func main() {
	if err := run(os.Args[1:], os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "rules:", err)
		os.Exit(1)
	}
}

func run(args []string, stderr io.Writer) error {
	flags := flag.NewFlagSet("rules", flag.ContinueOnError)
	flags.SetOutput(stderr)
	dir := flags.String("dir", "deploy/rules", "the folder with slo/ and causes*.yaml")
	check := flags.Bool("check", false, "write nothing; fail if a file is not up to date")
	if err := flags.Parse(args); err != nil {
		return err
	}
	objectives, err := readObjectives(*dir)
	if err != nil {
		return err
	}
	for _, to := range []struct {
		scale objective.Scale
		file  string
	}{{objective.Trial, "seatrial.rules.yaml"}, {objective.Production, "production.rules.yaml"}} {
		causes, err := readCauses(*dir, to.scale.Name)
		if err != nil {
			return err
		}
		text, err := objective.Generate(to.scale, objectives, causes)
		if err != nil {
			return fmt.Errorf("generate %s: %w", to.file, err)
		}
		if err := put(filepath.Join(*dir, to.file), text, *check); err != nil {
			return err
		}
	}
	return nil
}

func readObjectives(dir string) ([]objective.Objective, error) {
	files, err := filepath.Glob(filepath.Join(dir, "slo", "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no objectives in %s (%v)", filepath.Join(dir, "slo"), err)
	}
	var all []objective.Objective
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read objective: %w", err)
		}
		o, err := objective.Parse(file, text)
		if err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, nil
}

// readCauses reads what is common to all scales, then what is of one.
func readCauses(dir, scale string) ([]objective.File, error) {
	var all []objective.File
	for _, name := range []string{"causes.yaml", "causes." + scale + ".yaml"} {
		file := filepath.Join(dir, name)
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read causes: %w", err)
		}
		all = append(all, objective.File{Name: file, Text: text})
	}
	return all, nil
}

func put(file string, text []byte, check bool) error {
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read %s: %w", file, err)
	}
	if bytes.Equal(old, text) {
		return nil
	}
	if check {
		return fmt.Errorf("%s is not what slo/ and causes*.yaml say; run make rules", file)
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}

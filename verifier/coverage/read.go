package coverage

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"seatrial/verifier/evidence"
)

// Read reads the trials of the runs in dirs. A run that was killed has no verdict
// of its own; those of its trials count then, as far as there are any. A folder
// that is no run is an error that names it.
func Read(dirs []string) ([]evidence.Scenario, error) {
	var all []evidence.Scenario
	for _, dir := range dirs {
		trials, err := readRun(dir)
		if err != nil {
			return nil, fmt.Errorf("read the run %s: %w", dir, err)
		}
		all = append(all, trials...)
	}
	return all, nil
}

func readRun(dir string) ([]evidence.Scenario, error) {
	var run evidence.Run
	err := evidence.LoadJSON(filepath.Join(dir, evidence.VerdictFile), &run)
	if errors.Is(err, fs.ErrNotExist) {
		return readTrials(dir)
	}
	for i := range run.Scenarios {
		if run.Scenarios[i].Target == "" {
			run.Scenarios[i].Target = run.Target
		}
	}
	return run.Scenarios, err
}

func readTrials(dir string) ([]evidence.Scenario, error) {
	folders, err := evidence.Trials(dir)
	if err != nil {
		return nil, err
	}
	var all []evidence.Scenario
	for _, f := range folders {
		var s evidence.Scenario
		switch err := f.Load(evidence.VerdictFile, &s); {
		case errors.Is(err, fs.ErrNotExist): // the trial was killed as well
			continue
		case err != nil:
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

package experiments

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Lasting returns a copy of the experiment that goes on for d: a fault that
// lasts gets that duration, one that is repeated as many repetitions as fit (at
// most 100). A fault that happens once stays as it is.
func (e *Experiment) Lasting(d time.Duration) (*Experiment, error) {
	longer := *e
	longer.Object = e.Object.DeepCopyObject().(client.Object)
	switch {
	case e.Repeat.Times > 0:
		longer.Repeat.Times = max(e.Repeat.Times, min(maxRepeats, 1+int(d/e.Repeat.Every)))
	case e.Duration > 0:
		if err := SetDuration(longer.Object, d); err != nil {
			return nil, fmt.Errorf("let %s last %v: %w", e.Name, d, err)
		}
		longer.Duration = d
	}
	return &longer, nil
}

// SetDuration sets an object's spec.duration, which every kind that lasts has.
func SetDuration(object client.Object, d time.Duration) error {
	data, err := json.Marshal(object)
	if err != nil {
		return err
	}
	var whole map[string]any
	if err := json.Unmarshal(data, &whole); err != nil {
		return err
	}
	spec, ok := whole["spec"].(map[string]any)
	if !ok {
		return errors.New("it has no spec")
	}
	spec["duration"] = d.String()
	if data, err = json.Marshal(whole); err != nil {
		return err
	}
	return json.Unmarshal(data, object)
}

// Candidates are the pods out of which the victims are drawn, sorted: those that
// the selector matches, whatever the mode and the Victims query leave of them.
func (e *Experiment) Candidates(pods []Pod) ([]Pod, error) {
	selectors, err := podSelectors(e.Object)
	if err != nil {
		return nil, fmt.Errorf("candidates of %s: %w", e.Name, err)
	}
	var all []Pod
	for _, s := range selectors {
		if s.path == pathTarget {
			continue
		}
		found, err := Select(s.Selector, pods)
		if err != nil {
			return nil, fmt.Errorf("candidates of %s: %s.selector: %w", e.Name, s.path, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

// Mode says how many of the candidates become victims, in Chaos Mesh's words:
// one, all, or fixed 2; "" for a kind that selects no pods.
func (e *Experiment) Mode() string {
	selectors, err := podSelectors(e.Object)
	if err != nil {
		return ""
	}
	for _, s := range selectors {
		if s.path == pathTarget {
			continue
		}
		if s.Value != "" {
			return string(s.Mode) + " " + s.Value
		}
		return string(s.Mode)
	}
	return ""
}

// Package objective makes Prometheus rules of objectives: OpenSLO v1 files in, recorded ratios and
// multi-window, multi-burn-rate alerts out, for production and at the time scale of trials.
//
// It is pure, and must not know Prometheus, files or which objectives there are.
package objective

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Objective is what the generator takes from an OpenSLO file. Bad, Good and Total are selectors of
// counters; one of Bad and Good is empty.
type Objective struct {
	Name        string
	Description string
	Target      float64 // ratio of good events, between 0 and 1
	Period      string  // that the error budget is for, e.g. 30d
	Bad, Good   string
	Total       string
	Alert       string // name of its alerts
	Events      string // middle part of the series seatrial:EVENTS:rateWINDOW
	BadEvents   string // middle part of the series seatrial:BADEVENTS:ratioWINDOW
	BadMeans    string // goes on after a percentage; {window} is replaced
	// Or is a recorded series that is there, and more than 1, when something is wrong that none of the events can tell;
	// it rings with the first burn. OrMeans goes on after its value. Both may be empty.
	Or, OrMeans string
}

// source is one side of a ratio.
type source struct {
	MetricSource struct {
		Type string `yaml:"type"`
		Spec struct {
			Query string `yaml:"query"`
		} `yaml:"spec"`
	} `yaml:"metricSource"`
}

// document is OpenSLO's SLO, as far as it is understood; any other field is refused.
type document struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   struct {
		Name        string            `yaml:"name"`
		DisplayName string            `yaml:"displayName"`
		Annotations map[string]string `yaml:"annotations"`
	} `yaml:"metadata"`
	Spec struct {
		Description string `yaml:"description"`
		Service     string `yaml:"service"`
		Indicator   struct {
			Metadata struct {
				Name        string `yaml:"name"`
				DisplayName string `yaml:"displayName"`
			} `yaml:"metadata"`
			Spec struct {
				RatioMetric struct {
					Counter bool   `yaml:"counter"`
					Good    source `yaml:"good"`
					Bad     source `yaml:"bad"`
					Total   source `yaml:"total"`
				} `yaml:"ratioMetric"`
			} `yaml:"spec"`
		} `yaml:"indicator"`
		TimeWindow []struct {
			Duration  string `yaml:"duration"`
			IsRolling bool   `yaml:"isRolling"`
		} `yaml:"timeWindow"`
		BudgetingMethod string `yaml:"budgetingMethod"`
		Objectives      []struct {
			DisplayName string  `yaml:"displayName"`
			Target      float64 `yaml:"target"`
		} `yaml:"objectives"`
	} `yaml:"spec"`
}

// Parse reads an OpenSLO v1 SLO. file is how errors call it.
func Parse(file string, data []byte) (Objective, error) {
	var d document
	dec := yaml.NewDecoder(bytes.NewReader(data))
	dec.KnownFields(true)
	if err := dec.Decode(&d); err != nil {
		return Objective{}, fmt.Errorf("read objective %s: %w", file, err)
	}
	if err := d.valid(); err != nil {
		return Objective{}, fmt.Errorf("read objective %s: %w", file, err)
	}
	notes, ratio := d.Metadata.Annotations, d.Spec.Indicator.Spec.RatioMetric
	return Objective{
		Name: d.Metadata.Name, Description: d.Spec.Description,
		Target: d.Spec.Objectives[0].Target, Period: d.Spec.TimeWindow[0].Duration,
		Bad: ratio.Bad.query(), Good: ratio.Good.query(), Total: ratio.Total.query(),
		Alert: notes[noteAlert], Events: notes[noteEvents], BadEvents: notes[noteBadEvents], BadMeans: notes[noteBadMeans],
		Or: notes[noteOr], OrMeans: notes[noteOrMeans],
	}, nil
}

// The annotations that OpenSLO has no field for.
const (
	noteAlert     = "seatrial/alert"
	noteEvents    = "seatrial/events"
	noteBadEvents = "seatrial/bad-events"
	noteBadMeans  = "seatrial/bad-means"
	noteOr        = "seatrial/or"
	noteOrMeans   = "seatrial/or-means"
)

var (
	alertName  = regexp.MustCompile(`^[A-Z][A-Za-z0-9]+$`)
	seriesName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	// recordedName is the name of a series that a rule of causes records.
	recordedName = regexp.MustCompile(`^seatrial(:[a-z0-9_]+)+$`)
	// selector is a counter's name and matchers, with nothing around them.
	selector = regexp.MustCompile(`^[a-z_:][a-z0-9_:]*(\{([^{}"]|"([^"\\]|\\.)*")*\})?$`)
)

func (s source) query() string { return strings.TrimSpace(s.MetricSource.Spec.Query) }

func (s source) valid(side string) error {
	if s.MetricSource.Type != "Prometheus" {
		return fmt.Errorf("%s: type %q: want Prometheus", side, s.MetricSource.Type)
	}
	if !selector.MatchString(s.query()) {
		return fmt.Errorf("%s: query %q: want the selector of a counter, without functions or a range", side, s.query())
	}
	return nil
}

func (d document) valid() error {
	switch {
	case d.APIVersion != "openslo/v1" || d.Kind != "SLO":
		return fmt.Errorf("%s %s: want openslo/v1 SLO", d.APIVersion, d.Kind)
	case d.Metadata.Name == "" || d.Spec.Description == "" || d.Spec.Service == "":
		return fmt.Errorf("metadata.name, spec.description and spec.service are needed")
	case d.Spec.BudgetingMethod != "Occurrences":
		return fmt.Errorf("budgetingMethod %q: want Occurrences", d.Spec.BudgetingMethod)
	case len(d.Spec.TimeWindow) != 1 || !d.Spec.TimeWindow[0].IsRolling:
		return fmt.Errorf("want one timeWindow, rolling")
	case len(d.Spec.Objectives) != 1:
		return fmt.Errorf("%d objectives: want one", len(d.Spec.Objectives))
	}
	if t := d.Spec.Objectives[0].Target; !(t > 0 && t < 1) {
		return fmt.Errorf("target %v: want more than 0 and less than 1", t)
	}
	if _, err := seconds(d.Spec.TimeWindow[0].Duration); err != nil {
		return fmt.Errorf("timeWindow: %w", err)
	}
	if err := d.validNotes(); err != nil {
		return err
	}
	return d.validRatio()
}

func (d document) validNotes() error {
	notes := d.Metadata.Annotations
	if !alertName.MatchString(notes[noteAlert]) {
		return fmt.Errorf("annotation %s: %q is no alert's name", noteAlert, notes[noteAlert])
	}
	for _, key := range []string{noteEvents, noteBadEvents} {
		if !seriesName.MatchString(notes[key]) {
			return fmt.Errorf("annotation %s: %q is no part of a series' name", key, notes[key])
		}
	}
	if !strings.Contains(notes[noteBadMeans], "{window}") {
		return fmt.Errorf("annotation %s: %q does not say {window}", noteBadMeans, notes[noteBadMeans])
	}
	if or := notes[noteOr]; or != "" && !recordedName.MatchString(or) {
		return fmt.Errorf("annotation %s: %q is no recorded series", noteOr, or)
	}
	if (notes[noteOr] == "") != (notes[noteOrMeans] == "") {
		return fmt.Errorf("annotations %s and %s: want both or neither", noteOr, noteOrMeans)
	}
	return nil
}

func (d document) validRatio() error {
	r := d.Spec.Indicator.Spec.RatioMetric
	if !r.Counter {
		return fmt.Errorf("ratioMetric: want counter: true")
	}
	if (r.Good == source{}) == (r.Bad == source{}) {
		return fmt.Errorf("ratioMetric: want either good or bad")
	}
	for _, side := range []struct {
		name string
		source
	}{{"good", r.Good}, {"bad", r.Bad}, {"total", r.Total}} {
		if (side.source == source{}) && side.name != "total" {
			continue
		}
		if err := side.valid(side.name); err != nil {
			return err
		}
	}
	return nil
}

var units = map[byte]float64{'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 7 * 86400}

// seconds reads a duration of one unit, as Prometheus and OpenSLO both write it: 15s, 5m, 1h, 3d, 4w.
func seconds(duration string) (float64, error) {
	if n := len(duration); n > 1 {
		number, err := strconv.Atoi(duration[:n-1])
		if unit, ok := units[duration[n-1]]; ok && err == nil && number > 0 {
			return float64(number) * unit, nil
		}
	}
	return 0, fmt.Errorf("%q is no duration such as 15s, 5m, 1h or 3d", duration)
}

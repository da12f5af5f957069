package runbook

import (
	"fmt"
	"regexp"
	"strconv"
)

// Expectation says which answers to a step's query fit the fault: any sample that
// compares so with Value, or, when Empty, no sample at all.
type Expectation struct {
	Op    string // > >= < <= == !=
	Value float64
	Empty bool
}

var comparison = regexp.MustCompile(`^(>=|<=|==|!=|>|<) *(\S+)$`)

// ParseExpectation reads "> 0.5" or "no data".
func ParseExpectation(text string) (*Expectation, error) {
	if text == "no data" {
		return &Expectation{Empty: true}, nil
	}
	parts := comparison.FindStringSubmatch(text)
	if parts == nil {
		return nil, fmt.Errorf("the expectation %q is neither a comparison such as > 0.5 nor no data", text)
	}
	value, err := strconv.ParseFloat(parts[2], 64)
	if err != nil || value != value {
		return nil, fmt.Errorf("the expectation %q compares with no number", text)
	}
	return &Expectation{Op: parts[1], Value: value}, nil
}

// String is what a runbook says.
func (e *Expectation) String() string {
	if e.Empty {
		return "no data"
	}
	return e.Op + " " + strconv.FormatFloat(e.Value, 'g', -1, 64)
}

// Holds is PromQL that has a value exactly when the expectation of query holds; of an
// Empty one, exactly when it does not.
func (e *Expectation) Holds(query string) string {
	if e.Empty {
		return fmt.Sprintf("count(\n%s\n)", query)
	}
	return fmt.Sprintf("count((\n%s\n) %s)", query, e)
}

// Fits judges the values of an answer as Holds would.
func (e *Expectation) Fits(values []float64) bool {
	if e.Empty {
		return len(values) == 0
	}
	for _, v := range values {
		if e.compares(v) {
			return true
		}
	}
	return false
}

func (e *Expectation) compares(v float64) bool {
	switch e.Op {
	case ">":
		return v > e.Value
	case ">=":
		return v >= e.Value
	case "<":
		return v < e.Value
	case "<=":
		return v <= e.Value
	case "==":
		return v == e.Value
	}
	return v != e.Value
}

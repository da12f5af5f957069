package runbook

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Expectation is what a step's query must answer for the step to hold: any one
// sample satisfies Op and Value, or there is no sample at all (Empty).
type Expectation struct {
	Op    string // ">", ">=", "<", "<=", "==" or "!="
	Value float64
	Empty bool
}

const noData = "no data"

// forms are what may be expected, as mistakes tell it.
const forms = "want `> N`, `>= N`, `< N`, `<= N`, `== N` or `!= N` in backticks, or `no data`"

var (
	quoted     = regexp.MustCompile("^(?:`([^`]*)`|(no data)\\b)(?s:(.*))$")
	comparison = regexp.MustCompile(`^(>=|<=|==|!=|>|<)\s*([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)$`)
)

// ParseExpectation reads "> 0.5" or "no data".
func ParseExpectation(text string) (*Expectation, error) {
	if text = strings.TrimSpace(text); text == noData {
		return &Expectation{Empty: true}, nil
	}
	c := comparison.FindStringSubmatch(text)
	if c == nil {
		return nil, fmt.Errorf("the expectation %q is not understood, %s", text, forms)
	}
	value, err := strconv.ParseFloat(c[2], 64)
	if err != nil {
		return nil, fmt.Errorf("the expectation %q compares with no number that there is", text)
	}
	return &Expectation{Op: c[1], Value: value}, nil
}

// expectation reads what follows "Expected:" and returns the prose behind it.
func expectation(text string) (e *Expectation, note string, err error) {
	parts := quoted.FindStringSubmatch(text)
	if parts == nil {
		return nil, "", fmt.Errorf("the expectation %q is not understood, %s", firstLine(text), forms)
	}
	e, err = ParseExpectation(parts[1] + parts[2])
	return e, strings.TrimLeft(parts[3], " .,;:\n"), err
}

// String returns what a runbook says, for example "> 0.5" or "no data".
func (e *Expectation) String() string {
	if e.Empty {
		return noData
	}
	return e.Op + " " + strconv.FormatFloat(e.Value, 'g', -1, 64)
}

// Holds returns the PromQL that has a value at the moments at which the
// expectation of query holds; an Empty one holds where it has none.
func (e *Expectation) Holds(query string) string {
	// On a line of its own: a comment at the query's end must not swallow the bracket.
	if e.Empty {
		return "count(\n" + query + "\n)"
	}
	return "count((\n" + query + "\n) " + e.String() + ")"
}

// Fits judges the values that a query has answered as Holds would.
func (e *Expectation) Fits(values []float64) bool {
	if e.Empty {
		return len(values) == 0
	}
	for _, v := range values {
		if e.satisfied(v) {
			return true
		}
	}
	return false
}

func (e *Expectation) satisfied(v float64) bool {
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
	case "!=":
		return v != e.Value
	}
	return false
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

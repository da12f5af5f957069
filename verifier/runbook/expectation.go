package runbook

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Expectation is what a step's query must answer for the step to hold: any one
// sample satisfies Op and Value, or there is no sample at all (Empty). The zero
// value expects nothing.
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

// parseExpectation reads what follows "Expected:" and returns the prose behind it.
func parseExpectation(text string) (e Expectation, note string, err error) {
	parts := quoted.FindStringSubmatch(text)
	if parts == nil {
		return e, "", fmt.Errorf("Expected: %q is not understood, %s", firstLine(text), forms)
	}
	body, note := strings.TrimSpace(parts[1]+parts[2]), strings.TrimLeft(parts[3], " \n")
	if body == noData {
		return Expectation{Empty: true}, note, nil
	}
	c := comparison.FindStringSubmatch(body)
	if c == nil {
		return e, "", fmt.Errorf("Expected: %q is not understood, %s", body, forms)
	}
	value, err := strconv.ParseFloat(c[2], 64)
	if err != nil {
		return e, "", fmt.Errorf("Expected: %s is no number that can be compared with", c[2])
	}
	return Expectation{Op: c[1], Value: value}, note, nil
}

// IsZero says that nothing is expected.
func (e Expectation) IsZero() bool { return e == Expectation{} }

// String returns what a runbook says, for example "> 0.5" or "no data"; "" for
// the zero value.
func (e Expectation) String() string {
	switch {
	case e.Empty:
		return noData
	case e.Op == "":
		return ""
	}
	return e.Op + " " + strconv.FormatFloat(e.Value, 'g', -1, 64)
}

// Holds returns the PromQL that has a value at the moments at which the
// expectation of query holds; an Empty one holds where it has none.
func (e Expectation) Holds(query string) string {
	if strings.Contains(query, "#") {
		query = "\n" + query + "\n" // a comment must not swallow the bracket
	}
	if e.Empty {
		return "count(" + query + ")"
	}
	return "count((" + query + ") " + e.String() + ")"
}

// True judges values that a query has answered: the same judgement as Holds.
func (e Expectation) True(values []float64) bool {
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

func (e Expectation) satisfied(v float64) bool {
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

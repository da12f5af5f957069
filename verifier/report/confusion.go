package report

import (
	"fmt"
	"slices"
	"strings"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

// What is asked of a runbook's diagnosis in a scenario.
const (
	must = "must"
	may  = "may"
)

// matrix is the run's confusion matrix as readers see it.
type matrix struct {
	Books []bookHead
	Rows  []matrixRow
	Wrong []string
	Open  bool   // something is unknown
	Line  string // the whole in one line
}

// bookHead is the head of a runbook's column.
type bookHead struct{ Name, Link string }

type matrixRow struct {
	Name, Anchor string
	Cells        []matrixCell
}

// matrixCell is one diagnosis in one scenario. Kind is a class of the style sheet
// and a word of its own: own, declared, quiet, wrong or unknown.
type matrixCell struct {
	Word  string // true, false or unknown
	Kind  string
	Title string
}

// matrixOf lays the matrix out; nil where the run has none. What verdict.json
// does not hold is unknown, whatever its shape.
func matrixOf(dir string, run *evidence.Run) *matrix {
	c := run.Confusion
	if c == nil {
		return nil
	}
	m := &matrix{Wrong: c.Wrong, Open: open(c) > 0, Line: confusionLine(c)}
	for _, name := range c.Runbooks {
		m.Books = append(m.Books, bookHead{name, bookLink(dir, name)})
	}
	for i, name := range c.Scenarios {
		row := matrixRow{Name: name}
		s := &evidence.Scenario{Name: name}
		if n := slices.IndexFunc(run.Scenarios, func(s evidence.Scenario) bool { return s.Name == name }); n >= 0 {
			s, row.Anchor = &run.Scenarios[n], anchor(n)
		}
		for j, book := range c.Runbooks {
			row.Cells = append(row.Cells, cellOf(s, book, wordAt(c, i, j)))
		}
		m.Rows = append(m.Rows, row)
	}
	return m
}

func wordAt(c *evidence.Confusion, row, column int) string {
	if row < len(c.Cells) && column < len(c.Cells[row]) && slices.Contains([]string{"true", "false"}, c.Cells[row][column]) {
		return c.Cells[row][column]
	}
	return "unknown"
}

// cellOf dresses a word by what was asked of it and what the judge said.
func cellOf(s *evidence.Scenario, book, word string) matrixCell {
	d := diagnosisOf(s, book)
	c := matrixCell{Word: word, Kind: "quiet"}
	switch {
	case d.Status == verdict.Fail:
		c.Kind = "wrong"
	case word == "unknown":
		c.Kind = "unknown"
	case d.Role == must:
		c.Kind = "own"
	case d.Role == may, d.Noted:
		c.Kind = "declared"
	}
	c.Title = fmt.Sprintf("%s: %s during “%s”, %s", book, howLong(d), s.Name, asked(d))
	if d.Reason != "" {
		c.Title += ". " + d.Reason
	}
	return c
}

// diagnosisOf finds a runbook's diagnosis in a scenario. One that is not there
// was not asked.
func diagnosisOf(s *evidence.Scenario, book string) *evidence.Diagnosis {
	for i := range s.Diagnoses {
		if s.Diagnoses[i].Runbook == book {
			return &s.Diagnoses[i]
		}
	}
	return &evidence.Diagnosis{Runbook: book}
}

// asked says what is asked of a diagnosis.
func asked(d *evidence.Diagnosis) string {
	switch {
	case d.Noted && d.Role == must:
		return "its own fault: noted, not judged"
	case d.Noted:
		return "noted, not judged"
	}
	switch d.Role {
	case must:
		return "its own fault: must be true"
	case may:
		return "declared: may be true"
	case "":
		return "not judged"
	}
	return "must be false"
}

// howLong says for how many of the moments, a second apart, a diagnosis was true.
func howLong(d *evidence.Diagnosis) string {
	said := seconds(d.True, d.Asked)
	if d.After > 0 {
		said += "; after the fault " + seconds(d.After, d.AskedAfter)
	}
	return said
}

func seconds(held, asked int) string {
	switch {
	case asked == 0:
		return "unknown"
	case held == 0:
		return fmt.Sprintf("false all %d s", asked)
	case held == asked:
		return fmt.Sprintf("true all %d s", asked)
	}
	return fmt.Sprintf("true for %d of %d s", held, asked)
}

// confusionLine counts the matrix. What is unknown proves nothing, so it is said.
func confusionLine(c *evidence.Confusion) string {
	asked := diagnoses(len(c.Runbooks))
	if c.Causes > 0 {
		asked += " and " + plural(c.Causes, "cause")
	}
	line := fmt.Sprintf("runbooks: %s in %s, %d wrong", asked, plural(len(c.Scenarios), "trial"), len(c.Wrong))
	if c.Noted > 0 {
		line += ", noted and not judged in " + plural(c.Noted, "game day")
	}
	if n := open(c); n > 0 {
		line += fmt.Sprintf(", %s unknown", plural(n, "cell"))
	}
	return line
}

// open counts the unknown cells.
func open(c *evidence.Confusion) (n int) {
	for i := range c.Scenarios {
		for j := range c.Runbooks {
			if wordAt(c, i, j) == "unknown" {
				n++
			}
		}
	}
	return n
}

func diagnoses(n int) string {
	if n == 1 {
		return "1 diagnosis"
	}
	return num(n) + " diagnoses"
}

// diagnosisRow is what one runbook's diagnosis came to in a scenario, where that
// is worth a line: it was true, or it should have been, or should not.
type diagnosisRow struct {
	evidence.Diagnosis
	Was, Ask string
	Link     string
	Found    []causeRow
}

// causeRow is what a cause's steps came to, where that is worth a line.
type causeRow struct {
	evidence.Cause
	Was, Ask string
	Judged   bool // something is asked of it
}

func diagnosisRows(dir string, s *evidence.Scenario) []diagnosisRow {
	var rows []diagnosisRow
	for _, d := range s.Diagnoses {
		if isSilent(&d) {
			continue
		}
		rows = append(rows, diagnosisRow{Diagnosis: d, Was: howLong(&d), Ask: asked(&d), Link: bookLink(dir, d.Runbook), Found: causeRows(&d)})
	}
	return rows
}

// isSilent says whether there is nothing to tell of a diagnosis: it was not true, and need not be.
func isSilent(d *evidence.Diagnosis) bool {
	return d.True == 0 && d.After == 0 && d.Role != must && d.Status != verdict.Fail
}

// causeRows are a runbook's causes that were true, that should have been, or that are
// in doubt; none where the whole diagnosis is unknown.
func causeRows(d *evidence.Diagnosis) []causeRow {
	var rows []causeRow
	for _, c := range d.Causes {
		if d.Asked == 0 || c.True == 0 && c.Role != must && c.Status == verdict.Pass {
			continue
		}
		was := seconds(c.True, c.Asked)
		ask := askedCause(c.Role)
		if d.Noted || d.Role != must {
			ask = "noted, not judged"
		}
		rows = append(rows, causeRow{Cause: c, Was: was, Ask: ask, Judged: c.Role != may && d.Role == must})
	}
	return rows
}

// askedCause says what is asked of a cause.
func askedCause(role string) string {
	switch role {
	case must:
		return "the cause of this fault: must be true"
	case may:
		return "no experiment injects it: not judged"
	}
	return "the cause of others: must not be true as often"
}

// doubtfulCauses are a runbook's causes that did not pass. Where the whole diagnosis is
// unknown, that has been said.
func doubtfulCauses(d *evidence.Diagnosis) []evidence.Cause {
	return slices.DeleteFunc(slices.Clone(d.Causes), func(c evidence.Cause) bool {
		return c.Status == verdict.Pass || d.Asked == 0
	})
}

// silent tells of the diagnoses that have no line of their own, as sentences.
func silent(s *evidence.Scenario) []string {
	quiet, moments := 0, 0
	for _, d := range s.Diagnoses {
		if d.Asked > 0 && isSilent(&d) {
			quiet, moments = quiet+1, max(moments, d.Asked)
		}
	}
	var all []string
	if quiet > 0 {
		all = append(all, fmt.Sprintf("%s false at each of %s, a second apart.", diagnoses(quiet), plural(moments, "moment")))
	}
	for _, u := range unasked(s) {
		all = append(all, fmt.Sprintf("Unknown: %s. The reason: %s.", u.names(), u.reason))
	}
	return all
}

// unknowns are the runbooks whose diagnoses are unknown for one reason.
type unknowns struct {
	books  []string
	reason string
}

// unasked groups a scenario's unknown diagnoses by reason: most often it is one
// for all of them.
func unasked(s *evidence.Scenario) []unknowns {
	var all []unknowns
	for _, d := range s.Diagnoses {
		if d.Status == verdict.Fail || d.Status == verdict.Pass && d.Asked > 0 {
			continue
		}
		i := slices.IndexFunc(all, func(u unknowns) bool { return u.reason == d.Reason })
		if i < 0 {
			i, all = len(all), append(all, unknowns{reason: d.Reason})
		}
		all[i].books = append(all[i].books, d.Runbook)
	}
	return all
}

// names lists some of the runbooks.
func (u *unknowns) names() string {
	const some = 6
	if n := len(u.books); n > some+1 {
		return fmt.Sprintf("%s and %d more", strings.Join(u.books[:some], ", "), n-some)
	}
	return strings.Join(u.books, ", ")
}

package report

import (
	"fmt"
	"io"
	"strings"

	"seatrial/verifier/evidence"
	"seatrial/verifier/verdict"
)

var marks = map[verdict.Status]string{verdict.Pass: "✅", verdict.Fail: "❌", verdict.Inconclusive: "❔"}

// summary writes the run as Markdown for the summary page of a CI job.
func summary(w io.Writer, run *evidence.Run) error {
	var b strings.Builder
	t := tallyOf(run)
	fmt.Fprintf(&b, "## %s seatrial: %s\n\n", marks[run.Status], run.Status)
	fmt.Fprintf(&b, "%s. %s accepted, **%d lost**, **%d done more than once**, %d refused but done.\n\n",
		t.sentence(), plural(t.Accepted, "task"), t.Lost, t.Duplicated, t.RefusedRun)
	fmt.Fprintf(&b, "Run %s, target %s, seed %d, %s%s.\n\n", code(run.Run), code(run.Target), run.Seed, scaled("load ×%.3g, ", run), long(run.Seconds))
	if len(run.NotRun) > 0 {
		fmt.Fprintf(&b, "**Not run**: %s\n\n", plain(strings.Join(run.NotRun, "; ")))
	}
	summaryTable(&b, run)
	summaryAgain(&b, run)
	summaryMatrix(&b, run)
	summaryMitigations(&b, run)
	summaryTrouble(&b, run)
	if vs := versions(run); len(vs) > 0 {
		b.WriteString("<details><summary>Versions</summary>\n\n")
		for _, v := range vs {
			fmt.Fprintf(&b, "- %s %s\n", plain(v.Name), plain(v.Version))
		}
		b.WriteString("\n</details>\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func summaryTable(b *strings.Builder, run *evidence.Run) {
	b.WriteString("| | scenario | in force | residue | achieved / asked | accepted | lost | twice | SLO back | alert |\n")
	b.WriteString("|---|---|---|---|--:|--:|--:|--:|--:|---|\n")
	for i := range run.Scenarios {
		s := &run.Scenarios[i]
		back := "–"
		if len(s.Experiments) > 0 {
			back = secs(s.Seconds.RecoverToSLO)
		}
		fmt.Fprintf(b, "| %s %s | %s | %s | %s | %s / %s | %s | %d | %d | %s | %s |\n",
			marks[s.Status], s.Status, plain(s.Name), plain(s.InForce), plain(s.Residue), rate(s.AchievedRate), rate(s.AskedRate),
			num(s.Accepted), s.Lost, s.Duplicated, back, plain(alertWords(s)))
	}
	b.WriteString("\n")
}

// summaryAgain lists the scenarios that were held twice, those that passed as well.
func summaryAgain(b *strings.Builder, run *evidence.Run) {
	for i := range run.Scenarios {
		if again := heldAgain(&run.Scenarios[i]); again != "" {
			fmt.Fprintf(b, "- %s **%s** %s\n", marks[verdict.Inconclusive], plain(run.Scenarios[i].Name), plain(again))
		}
	}
	b.WriteString("\n")
}

// summaryMatrix writes the confusion matrix with numbers for heads, which are
// explained below it: Markdown cannot turn the runbooks' names.
func summaryMatrix(b *strings.Builder, run *evidence.Run) {
	m := matrixOf("", run)
	if m == nil {
		return
	}
	for _, wrong := range m.Wrong {
		fmt.Fprintf(b, "- ❌ %s\n", plain(wrong))
	}
	fmt.Fprintf(b, "\n<details><summary>%s</summary>\n\n| scenario |", plain(m.Line))
	for i := range m.Books {
		fmt.Fprintf(b, " %d |", i+1)
	}
	fmt.Fprintf(b, "\n|---|%s\n", strings.Repeat(":-:|", len(m.Books)))
	for _, row := range m.Rows {
		fmt.Fprintf(b, "| %s |", plain(row.Name))
		for _, c := range row.Cells {
			fmt.Fprintf(b, " %s |", c.markdown())
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	for i, book := range m.Books {
		fmt.Fprintf(b, "%s**%d** %s", map[bool]string{true: ", "}[i > 0], i+1, plain(book.Name))
	}
	b.WriteString(".\n**bold**: its own fault; ·: false; (in brackets): declared, either is fine; ❌: wrong; ?: unknown.\n\n</details>\n\n")
}

// markdown is a cell's word with its mark.
func (c matrixCell) markdown() string {
	switch c.Kind {
	case "wrong":
		return "❌ **" + c.Word + "**"
	case "own":
		return "**" + c.Word + "**"
	case "declared":
		return "(" + c.Word + ")"
	case "unknown":
		return "?"
	}
	if c.Word == "false" {
		return "·"
	}
	return c.Word
}

func summaryTrouble(b *strings.Builder, run *evidence.Run) {
	for i := range run.Scenarios {
		s := &run.Scenarios[i]
		if s.Status == verdict.Pass {
			continue
		}
		fmt.Fprintf(b, "### %s %s\n\n**%s**: %s\n\n", marks[s.Status], plain(s.Name), s.Status, plain(s.Reason))
		for line := range strings.Lines(allReasons(s)) {
			if line = strings.TrimSpace(line); line != s.Reason {
				fmt.Fprintf(b, "- %s\n", plain(line))
			}
		}
		fmt.Fprintf(b, "\nEvidence: %s\n\n", code(s.Evidence))
	}
}

// alertWords says which expected alerts fired.
func alertWords(s *evidence.Scenario) string {
	var words []string
	for _, a := range s.Alerts {
		switch {
		case a.Expected && a.Fired:
			words = append(words, a.Name+" fired")
		case a.Expected:
			words = append(words, a.Name+" did not fire")
		case a.Fired:
			words = append(words, a.Name+" fired unasked")
		}
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

// plain makes any text one line of Markdown that means only itself, also within
// a table.
func plain(s string) string {
	var b strings.Builder
	for _, r := range oneLine(s) {
		switch {
		case r == '<':
			b.WriteString("&lt;")
		case r == '&':
			b.WriteString("&amp;")
		case strings.ContainsRune("\\`*_[]|#!~@", r):
			b.WriteByte('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// code makes any text a code span.
func code(s string) string {
	s = strings.ReplaceAll(oneLine(s), "`", "'")
	if s == "" {
		return "–"
	}
	return "`" + s + "`"
}

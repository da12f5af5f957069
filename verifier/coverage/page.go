package coverage

import (
	"fmt"
	"io"
	"regexp"
	"strings"
)

// Write writes the matrix as Markdown. The same sources give the same bytes.
func (m *Matrix) Write(w io.Writer) error {
	var b strings.Builder
	b.WriteString(`<!-- Written by "seatrial coverage"; edit nothing here. -->
# Coverage: what is proven, and what is not

A row is an alert that a scenario expects of its fault. It is proven on a testbed by a trial that passed: the fault was
in force, the alert rang and cleared in time, the runbook's diagnosis was true and no other's that should not be, the
objectives and guarantees held. The moment is that trial's start, in UTC. A trial of an older plan, with other
experiments or other alerts, proves nothing, and one in which diagnoses were not asked proves no runbook.

`)
	fmt.Fprintf(&b, "%s\n\n", m.counts)
	m.writeGaps(&b)
	b.WriteString("\n## Faults, alerts, runbooks, scenarios\n\n| experiment | alert | runbook | scenario |")
	heads(&b, "proven")
	for _, r := range m.Rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |", or(cell(strings.Join(r.Experiments, " + ")), "no fault"), cell(r.alert()), r.link(), cell(r.Scenario))
		proofs(&b, r.Proofs)
	}
	if len(m.Causes) > 0 {
		b.WriteString("\n## Causes that runbooks tell apart\n\nWhat is proven by a cause's scenario is the alert that it raises, the runbook's diagnosis, and that it\n" +
			"names the cause. Where the alert is expected in no scenario with the fault, a cause is *named* by a trial in which the runbook's diagnosis\n" +
			"was true beside others' or after the fault, and the cause at more seconds than any other that experiments inject.\n\n| runbook | cause | injected by | scenario |")
		heads(&b, "alert proven")
	}
	for _, c := range m.Causes {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |", link(c.Runbook), cell(c.Name), c.by(), cell(c.where()))
		if len(c.Scenarios) == 0 {
			c.writeNamed(&b)
			continue
		}
		proofs(&b, c.Proofs)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// provenElsewhere is what takes two releases, which no experiment makes.
const provenElsewhere = "No scenario can bring about RolloutStuck and ReleaseBad, for they take a release. `make cluster-proofs` can (TestBadRollout,\n" +
	"TestBadRelease): from the alert through the diagnosis to the rollback, with the runbook's own commands.\n\n"

func (m *Matrix) writeGaps(b *strings.Builder) {
	b.WriteString("## Gaps\n\n" + provenElsewhere)
	for _, g := range m.Gaps {
		if len(g.What) == 0 {
			fmt.Fprintf(b, "- %s: none\n", g.Kind)
			continue
		}
		fmt.Fprintf(b, "- %s: %d\n", g.Kind, len(g.What))
		for _, what := range g.What {
			fmt.Fprintf(b, "  - %s\n", oneLine(what))
		}
	}
}

// heads ends the heads of a table that has four columns before those of the testbeds.
func heads(b *strings.Builder, what string) {
	for _, testbed := range Testbeds {
		fmt.Fprintf(b, " %s on %s |", what, testbed)
	}
	fmt.Fprintf(b, "\n|%s\n", strings.Repeat("---|", 4+len(Testbeds)))
}

// proofs ends a row.
func proofs(b *strings.Builder, all []Proof) {
	for _, p := range all {
		fmt.Fprintf(b, " %s |", cell(p.String()))
	}
	b.WriteByte('\n')
}

func (r *Row) alert() string {
	switch {
	case r.Alert != "":
		return r.Alert
	case r.quiet:
		return "none may fire"
	}
	return "none expected"
}

func (r *Row) link() string {
	switch {
	case r.Runbook != "":
		return link(r.Runbook)
	case r.Alert != "":
		return "**none**"
	}
	return "–"
}

// link leads from docs/ to a runbook.
func link(runbook string) string {
	return fmt.Sprintf("[%s](../runbooks/%s.md)", cell(runbook), runbook)
}

func (c *CauseRow) writeNamed(b *strings.Builder) {
	for _, at := range c.Named {
		if at.IsZero() {
			b.WriteString(" – |")
			continue
		}
		fmt.Fprintf(b, " named %s |", minute(at))
	}
	b.WriteByte('\n')
}

func (c *CauseRow) by() string {
	if len(c.Injected) == 0 {
		return "nothing: " + neighbour.ReplaceAllString(cell(c.NotInjectable), "](../runbooks/$1")
	}
	return cell(strings.Join(c.Injected, ", "))
}

// where names the scenarios of a cause.
func (c *CauseRow) where() string {
	switch {
	case len(c.Scenarios) > 0:
		return strings.Join(c.Scenarios, "; ")
	case len(c.Others) > 0:
		return "injected, with other alerts expected: " + strings.Join(c.Others, "; ")
	}
	return "none"
}

// neighbour is a link from one runbook to another.
var neighbour = regexp.MustCompile(`\]\(([A-Za-z0-9_-]+\.md)`)

// cell keeps a text inside its cell of a table.
func cell(text string) string { return strings.ReplaceAll(oneLine(text), "|", "\\|") }

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

package runbook

import (
	"regexp"
	"slices"
	"strings"
)

// causePrefix begins the heading of a cause.
const causePrefix = "Cause:"

func (p *parser) diagnosis(s section) {
	own := s.pieces
	var causes []section
	for i, x := range s.pieces {
		switch {
		case x.kind == heading:
			if len(causes) == 0 {
				own = s.pieces[:i]
			}
			causes = append(causes, section{piece: x})
		case len(causes) > 0:
			last := &causes[len(causes)-1]
			last.pieces = append(last.pieces, x)
		}
	}
	own, marks := causeMarks(own)
	for _, x := range marks {
		p.stray(x)
	}
	p.book.Diagnosis = p.steps(own)
	if !p.cut && !hasMark(own, expected) {
		p.wrong(s.line, "the diagnosis decides nothing, want at least one promql block with Expected: outside of the causes")
	}
	for _, c := range causes {
		p.cause(c)
	}
}

func hasMark(pieces []piece, mark string) bool {
	return slices.ContainsFunc(pieces, func(x piece) bool { return x.mark == mark })
}

// causeMarks takes "Injected by:" and "Not injectable:" out of pieces.
func causeMarks(pieces []piece) (rest, marks []piece) {
	for _, x := range pieces {
		if x.mark == injected || x.mark == notInjectable {
			marks = append(marks, x)
		} else {
			rest = append(rest, x)
		}
	}
	return rest, marks
}

func (p *parser) cause(s section) {
	name, ok := strings.CutPrefix(s.text(), causePrefix)
	name = strings.TrimSpace(name)
	if s.level != 3 || !ok || name == "" {
		p.wrong(s.line, "the heading %q in ## Diagnosis, want ### Cause: NAME", s.markdown())
	}
	if i := slices.IndexFunc(p.book.Causes, func(c Cause) bool { return c.Name == name }); i >= 0 {
		p.wrong(s.line, "the cause %q stands twice, first in line %d", name, p.book.Causes[i].Line)
	}
	c := Cause{Name: name, Line: s.line}
	rest, marks := causeMarks(s.pieces)
	if c.Steps = p.steps(rest); len(c.Steps) == 0 && !p.cut && !slices.ContainsFunc(rest, func(x piece) bool { return x.kind == fence }) {
		p.wrong(s.line, "the cause %q has no step that tells it apart", name)
	}
	if len(marks) != 1 && !p.cut {
		line, how := s.line, "neither"
		if len(marks) > 1 {
			line, how = marks[1].line, "more than one"
		}
		p.wrong(line, "the cause %q has %s of Injected by: and Not injectable:, want exactly one", name, how)
	}
	for _, x := range marks {
		p.injection(&c, x)
	}
	p.book.Causes = append(p.book.Causes, c)
}

// experimentList is `a`, `b` and `c`, with prose after it if need be.
var experimentList = regexp.MustCompile("^`[^`]+`(?:(?:,| and|, and|,? or) `[^`]+`)*")

func (p *parser) injection(c *Cause, x piece) {
	if x.mark == notInjectable {
		if c.NotInjectable = x.sentence(); c.NotInjectable == "" {
			p.wrong(x.line, "Not injectable: gives no reason")
		}
		return
	}
	c.Injected = p.experiments(x)
}

// experiments are those that a mark names.
func (p *parser) experiments(x piece) (names []string) {
	list := experimentList.FindString(x.text())
	if list == "" {
		p.wrong(x.line, "%s: %q names no experiment, want `NAME` in backticks", x.mark, firstLine(x.text()))
	}
	for _, name := range codeSpan.FindAllString(list, -1) {
		names = append(names, strings.Trim(name, "`"))
	}
	return names
}

// steps reads blocks with what is expected of them. Text after the last one is part
// of its note.
func (p *parser) steps(pieces []piece) (all []Step) {
	var before []string
	for i := 0; i < len(pieces); i++ {
		x := pieces[i]
		switch {
		case x.kind == fence:
			s, ok := p.block(x)
			s.Question, before = strings.Join(before, "\n\n"), nil
			if i+1 < len(pieces) && (pieces[i+1].mark == expected || pieces[i+1].mark == look) {
				i++
				p.expectation(&s, pieces[i])
			} else if ok {
				p.unexpected(s)
			}
			if ok {
				all = append(all, s)
			}
		case x.mark != "":
			p.stray(x)
		default:
			before = append(before, x.markdown())
		}
	}
	if len(all) > 0 {
		last := &all[len(all)-1]
		last.Note = strings.TrimSpace(last.Note + "\n\n" + strings.Join(before, "\n\n"))
	}
	return all
}

func (p *parser) unexpected(s Step) {
	if s.Kind == Shell {
		p.wrong(s.Line, "the command says nothing of what to see, want Look: directly after the block")
		return
	}
	p.wrong(s.Line, "the query says nothing of what to see, want Expected: or Look: directly after the block")
}

func (p *parser) expectation(s *Step, x piece) {
	if x.text() == "" {
		p.wrong(x.line, "%s: says nothing", x.mark)
		return
	}
	if x.mark == look {
		s.Note = x.text()
		return
	}
	e, note, err := expectation(x.text())
	switch {
	case err != nil:
		p.wrong(x.line, "%v", err)
	case s.Kind == Shell:
		p.wrong(x.line, "Expected: after a command, which nobody but the reader runs; want Look:")
	default:
		s.Expectation, s.Note = e, note
	}
}

// block reads a fenced block, and says whether it can be made out.
func (p *parser) block(x piece) (Step, bool) {
	s := Step{Line: x.line, Query: x.text()}
	kind, target, _ := strings.Cut(strings.Join(strings.Fields(x.info), " "), " ")
	s.Kind, s.Target = kind, target
	switch {
	case kind == PromQL && target == "":
		if line, wrong := unbalanced(strings.Join(x.body, "\n")); wrong != "" {
			p.wrong(x.line+1+line, "the query is no PromQL: %s", wrong)
		}
	case kind == Shell && (target == "" || target == Local || target == Kubernetes):
	default:
		p.wrong(x.line, "a fenced block of the unknown kind %q, want promql, sh, sh local or sh kubernetes", x.info)
		return s, false
	}
	if strings.TrimSpace(x.text()) == "" {
		p.wrong(x.line, "the fenced block is empty")
		return s, false
	}
	return s, true
}

func (p *parser) mitigation(s section) {
	var before []string
	for i := 0; i < len(s.pieces); i++ {
		x := s.pieces[i]
		switch {
		case x.kind == fence:
			m, ok := p.command(x)
			m.Text, before = strings.Join(before, "\n\n"), nil
			n := p.remarks(&m, s.pieces[i+1:])
			i += n
			if ok && n == 0 {
				p.wrong(m.Line, "the command does not say how to undo it, want Undo: directly after the block")
			}
			if ok {
				p.book.Mitigations = append(p.book.Mitigations, m)
			}
		case x.mark != "":
			p.stray(x)
		default:
			before = append(before, x.markdown())
		}
	}
	p.book.Advice = strings.Join(before, "\n\n")
	if len(s.pieces) == 0 && !p.cut {
		p.wrong(s.line, "the section ## %s says nothing", s.text())
	}
}

// remarks reads what stands directly after a block of commands, Undo: and perhaps
// Mitigates:, and returns how many pieces that is.
func (p *parser) remarks(m *Mitigation, pieces []piece) int {
	if len(pieces) == 0 || pieces[0].mark != undo {
		return 0
	}
	if m.Undo = pieces[0].sentence(); m.Undo == "" {
		p.wrong(pieces[0].line, "Undo: says nothing")
	}
	if len(pieces) == 1 || pieces[1].mark != mitigates {
		return 1
	}
	m.Mitigates = p.experiments(pieces[1])
	return 2
}

func (p *parser) command(x piece) (Mitigation, bool) {
	s, ok := p.block(x)
	if ok && s.Kind == PromQL {
		p.wrong(x.line, "a query in ## Mitigation, want commands (sh) only")
		ok = false
	}
	return Mitigation{Line: s.Line, Target: s.Target, Command: s.Query}, ok
}

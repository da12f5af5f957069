package runbook

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// text enters a line of prose: most are for the reader, some say what a block is for.
func (p *parser) text(line string) {
	if line == "" {
		p.note = nil
		p.prose = append(p.prose, "")
		return
	}
	for word, enter := range map[string]func(string){
		"Expected:": p.expected, "Look:": p.look, "Look,": p.look, "Undo:": p.undo,
		"Injected by:": p.injected, "Not injectable:": p.notInjectable,
	} {
		if rest, ok := strings.CutPrefix(line, word); ok {
			p.note = nil
			enter(strings.TrimSpace(rest))
			return
		}
	}
	if p.note != nil {
		*p.note += " " + line
		return
	}
	p.prose = append(p.prose, line)
}

func (p *parser) takeProse() string {
	text := strings.TrimSpace(strings.Join(p.prose, "\n"))
	p.prose = nil
	return text
}

// expected ends a step whose answer decides.
func (p *parser) expected(rest string) {
	switch {
	case p.step == nil:
		p.wrong(p.n+1, "Expected: without a block before it")
		return
	case p.step.Kind != "promql":
		p.wrong(p.n+1, "Expected: of a command cannot be judged: say Look:")
		return
	}
	code, note, _ := strings.Cut(strings.TrimPrefix(rest, "`"), "`")
	e, err := ParseExpectation(code)
	if err != nil || !strings.HasPrefix(rest, "`") {
		if err == nil {
			err = errors.New("the expectation does not stand in `backquotes`")
		}
		p.wrong(p.n+1, "%v", err)
	}
	p.step.Expectation = e
	p.enter(strings.TrimLeft(note, " .,;:"))
}

// look ends a step that is for the reader.
func (p *parser) look(rest string) {
	if p.step == nil {
		p.wrong(p.n+1, "Look: without a block before it")
		return
	}
	p.enter(rest)
}

// enter puts the step where it belongs. Its note goes on in the next lines.
func (p *parser) enter(note string) {
	p.step.Note = note
	into := &p.book.Diagnosis
	if p.cause != nil {
		into = &p.cause.Steps
	}
	*into = append(*into, *p.step)
	p.step, p.note = nil, &(*into)[len(*into)-1].Note
}

func (p *parser) injected(rest string) {
	if p.cause == nil {
		p.wrong(p.n+1, "Injected by: outside of a cause")
		return
	}
	for _, name := range strings.Split(rest, ",") {
		p.cause.Injected = append(p.cause.Injected, strings.Trim(strings.TrimSpace(name), "`."))
	}
}

func (p *parser) notInjectable(rest string) {
	if p.cause == nil {
		p.wrong(p.n+1, "Not injectable: outside of a cause")
		return
	}
	p.cause.NotInjectable = rest
	p.note = &p.cause.NotInjectable
}

func (p *parser) undo(rest string) {
	switch {
	case p.cure == nil:
		p.wrong(p.n+1, "Undo: without a command before it")
		return
	case rest == "":
		p.wrong(p.n+1, "Undo: says nothing")
	}
	p.cure.Undo = rest
	p.book.Mitigations = append(p.book.Mitigations, *p.cure)
	p.cure, p.note = nil, &p.book.Mitigations[len(p.book.Mitigations)-1].Undo
}

// settle finds a block that lacks what has to follow it.
func (p *parser) settle() {
	if p.step != nil {
		p.wrong(p.step.Line, "nothing is expected of the step: add Expected: or Look:")
		p.step = nil
	}
	if p.cure != nil {
		p.wrong(p.cure.Line, "the command does not say how to undo it: add Undo:")
		p.cure = nil
	}
	p.note = nil
}

// flush ends what a heading ends.
func (p *parser) flush() {
	p.settle()
	prose := p.takeProse()
	switch p.section {
	case "Meaning":
		p.book.Meaning += prose
	case "Impact":
		p.book.Impact += prose
	}
	if c := p.cause; c != nil {
		if (len(c.Injected) > 0) == (c.NotInjectable != "") {
			p.wrong(c.Line, "the cause %q needs one of Injected by: and Not injectable:", c.Name)
		}
		if len(c.Steps) == 0 {
			p.wrong(c.Line, "the cause %q has no step that tells it apart", c.Name)
		}
	}
	p.cause = nil
}

// finish finds what is not there.
func (p *parser) finish() {
	p.flush()
	if len(p.titles) != 1 {
		p.wrong(1, "%d titles: want one, # %s", len(p.titles), p.book.Name)
	}
	for _, s := range sections {
		if !slices.Contains(p.seen, s) {
			p.wrong(len(p.lines), "the section %s is missing", s)
		}
	}
	if p.book.diagnosisLine == 0 {
		return
	}
	for _, s := range p.book.Diagnosis {
		if s.Expectation != nil {
			return
		}
	}
	p.wrong(p.book.diagnosisLine, "the diagnosis expects nothing: it would be true always")
}

// balanced finds brackets and quotes that have no partner. What else is wrong in a
// query Prometheus says when it is asked.
func balanced(query string) error {
	var open []rune
	partner := map[rune]rune{')': '(', ']': '[', '}': '{'}
	var quote rune
	comment := false
	for _, r := range query {
		switch {
		case comment:
			comment = r != '\n'
		case quote == 0 && r == '#':
			comment = true
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '"' || r == '\'' || r == '`':
			quote = r
		case strings.ContainsRune("([{", r):
			open = append(open, r)
		case partner[r] != 0:
			if len(open) == 0 || open[len(open)-1] != partner[r] {
				return fmt.Errorf("%q has no partner", r)
			}
			open = open[:len(open)-1]
		}
	}
	switch {
	case quote != 0:
		return fmt.Errorf("a quote %q has no partner", quote)
	case len(open) > 0:
		return fmt.Errorf("%q has no partner", open[len(open)-1])
	}
	return nil
}

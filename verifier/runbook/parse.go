package runbook

import (
	"fmt"
	"slices"
	"strings"
)

// sections are those of every runbook, in their order.
var sections = []string{"Meaning", "Impact", "Diagnosis", "Mitigation"}

// parser reads one file.
type parser struct {
	file     string // as mistakes name it
	lines    []string
	book     *Runbook
	title    piece // the zero value where there is none
	named    []named
	links    []link
	cut      bool // the end of the file could not be made out
	mistakes []Mistake
}

// section is a ## heading and what stands below.
type section struct {
	piece
	pieces []piece
}

// parse reads a file that holds the runbook name.
func parse(file, name string, data []byte) *parser {
	text := strings.ReplaceAll(strings.TrimPrefix(string(data), "\ufeff"), "\r\n", "\n")
	p := &parser{file: file, lines: strings.Split(text, "\n"), book: &Runbook{Name: name, Text: data}}
	s := scan(p.lines, p.front())
	p.links = s.links
	if s.unclosed > 0 {
		p.wrong(s.unclosed, "the fenced block is not closed, want a line of its ticks after it")
		p.cut = true
	}
	before, all := p.split(s.pieces)
	p.titled(before)
	p.ordered(all)
	for _, sec := range all {
		switch sec.text() {
		case "Meaning":
			p.book.Meaning = p.prose(sec)
		case "Impact":
			p.book.Impact = p.prose(sec)
		case "Diagnosis":
			p.diagnosis(sec)
		case "Mitigation":
			p.mitigation(sec)
		}
	}
	return p
}

func (p *parser) wrong(line int, format string, args ...any) {
	p.mistakes = append(p.mistakes, Mistake{p.file, line, fmt.Sprintf(format, args...)})
}

// split returns what stands before the first section, and the sections.
func (p *parser) split(pieces []piece) (before []piece, all []section) {
	for _, x := range pieces {
		switch {
		case x.kind == heading && x.level == 2:
			all = append(all, section{piece: x})
		case x.kind == heading && x.level == 1 && len(all) > 0:
			p.wrong(x.line, "a second title %q, want one title before the first section", x.text())
		case len(all) == 0:
			before = append(before, x)
		default:
			last := &all[len(all)-1]
			last.pieces = append(last.pieces, x)
		}
	}
	return before, all
}

func (p *parser) titled(before []piece) {
	for _, x := range before {
		switch {
		case x.kind != heading || x.level != 1:
			p.wrong(x.line, "text outside of a section, want it under ## Meaning")
		case p.title.line > 0:
			p.wrong(x.line, "a second title %q, want one", x.text())
		default:
			p.title = x
		}
	}
	switch {
	case p.title.line > 0 && p.title.text() != p.book.Name:
		p.wrong(p.title.line, "the title is %q, want the file's name: # %s", p.title.text(), p.book.Name)
	case p.title.line == 0 && !p.cut:
		p.wrong(1, "no title, want # %s", p.book.Name)
	}
}

// ordered finds sections that are unknown, missing, repeated or out of order.
func (p *parser) ordered(all []section) {
	first := map[string]int{}
	last := -1
	for _, s := range all {
		at := slices.Index(sections, s.text())
		switch {
		case at < 0:
			p.wrong(s.line, "unknown section ## %s, want %s", s.text(), strings.Join(sections, ", "))
			continue
		case first[s.text()] > 0:
			p.wrong(s.line, "the section ## %s stands twice, first in line %d", s.text(), first[s.text()])
			continue
		case at < last:
			p.wrong(s.line, "the section ## %s stands after ## %s, want %s", s.text(), sections[last], strings.Join(sections, ", "))
		}
		first[s.text()], last = s.line, max(last, at)
	}
	for i, name := range sections {
		if first[name] == 0 && !p.cut {
			p.wrong(p.place(first, i), "the section ## %s is missing", name)
		}
	}
}

// place is where a missing section belongs: before the next one that is there, or
// at the end.
func (p *parser) place(first map[string]int, missing int) int {
	for _, name := range sections[missing+1:] {
		if first[name] > 0 {
			return first[name]
		}
	}
	return max(1, len(p.lines)-1)
}

// prose reads a section that only tells something.
func (p *parser) prose(s section) string {
	var texts []string
	for _, x := range s.pieces {
		switch {
		case x.kind == fence:
			p.wrong(x.line, "a fenced block in ## %s, want it in ## Diagnosis or ## Mitigation", s.text())
		case x.mark != "":
			p.stray(x)
		default:
			texts = append(texts, x.markdown())
		}
	}
	if len(texts) == 0 {
		p.wrong(s.line, "the section ## %s says nothing", s.text())
	}
	return strings.Join(texts, "\n\n")
}

// stray tells of a mark where it decides nothing.
func (p *parser) stray(x piece) {
	where := map[string]string{
		expected:      "directly after a promql block of ## Diagnosis",
		look:          "directly after a block of ## Diagnosis",
		undo:          "directly after a command block of ## Mitigation",
		mitigates:     "directly after Undo: of a command block of ## Mitigation",
		injected:      "once below a ### Cause of ## Diagnosis",
		notInjectable: "once below a ### Cause of ## Diagnosis",
	}
	p.wrong(x.line, "%s: belongs to nothing here, want it %s", x.mark, where[x.mark])
}

// markdown is a heading or a paragraph as it was written.
func (x piece) markdown() string {
	if x.kind == heading {
		return strings.Repeat("#", x.level) + " " + x.text()
	}
	return x.text()
}

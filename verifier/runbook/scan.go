package runbook

import (
	"regexp"
	"strings"
)

// kind is what a piece of Markdown is.
type kind int

const (
	prose kind = iota
	heading
	fence
)

// piece is a heading, a fenced block or a paragraph. Marks begin a paragraph of
// their own.
type piece struct {
	kind  kind
	line  int      // of its first line, from 1
	level int      // of a heading
	info  string   // of a fence: what follows its ticks
	mark  string   // of prose: "Expected", "Look", "Undo", …, or ""
	body  []string // lines, without the heading's #, the fence's ticks, the mark
}

// text is the piece's lines, without empty ones before and after.
func (x piece) text() string { return strings.Trim(strings.Join(x.body, "\n"), "\n") }

// sentence is the piece's lines in one.
func (x piece) sentence() string { return strings.Join(strings.Fields(x.text()), " ") }

// link is a link to a file beside.
type link struct {
	line   int
	target string
}

// The marks.
const (
	expected      = "Expected"
	look          = "Look"
	undo          = "Undo"
	mitigates     = "Mitigates"
	injected      = "Injected by"
	notInjectable = "Not injectable"
)

var (
	fenceLine   = regexp.MustCompile("^(\\s*)(```+|~~~+)\\s*([^`]*)$")
	headingLine = regexp.MustCompile(`^(#{1,6})(?:\s+(.*))?$`)
	markLine    = regexp.MustCompile(`^\s*(?:(Expected|Look|Undo|Mitigates|Injected by|Not injectable):|(Look),)\s*(.*)$`)
	codeSpan    = regexp.MustCompile("`[^`]*`")
	linkTarget  = regexp.MustCompile(`\]\(([^()\s]+\.md)(?:#[^()\s]*)?\)|^\s*\[[^\]]+\]:\s*(\S+\.md)(?:#\S*)?\s*$`)
)

// scanner cuts lines into pieces.
type scanner struct {
	lines    []string
	pieces   []piece
	links    []link
	unclosed int // line of a fence that nothing closes, or 0
	open     bool
}

// scan cuts lines from the index first on.
func scan(lines []string, first int) *scanner {
	s := &scanner{lines: lines}
	for i := first; i < len(lines); i++ {
		if m := fenceLine.FindStringSubmatch(lines[i]); m != nil {
			i = s.fence(i, m[1], m[2], m[3])
			continue
		}
		s.line(i)
	}
	return s
}

// fence takes a fenced block that begins in line i, and returns its last line.
func (s *scanner) fence(i int, indent, ticks, info string) int {
	s.open = false
	p := piece{kind: fence, line: i + 1, info: strings.TrimSpace(info)}
	var body []string
	for j := i + 1; j < len(s.lines); j++ {
		trimmed := strings.TrimSpace(s.lines[j])
		if len(trimmed) >= len(ticks) && strings.Trim(trimmed, ticks[:1]) == "" {
			p.body = body
			s.pieces = append(s.pieces, p)
			return j
		}
		body = append(body, strings.TrimPrefix(s.lines[j], indent))
	}
	s.unclosed = i + 1
	return len(s.lines)
}

// line takes a line outside of a fence.
func (s *scanner) line(i int) {
	text := strings.TrimRight(s.lines[i], " \t")
	s.find(i, text)
	if text == "" {
		s.open = false
		return
	}
	if h := headingLine.FindStringSubmatch(text); h != nil {
		s.pieces = append(s.pieces, piece{kind: heading, line: i + 1, level: len(h[1]), body: []string{strings.TrimSpace(h[2])}})
		s.open = false
		return
	}
	if m := markLine.FindStringSubmatch(text); m != nil {
		s.pieces = append(s.pieces, piece{kind: prose, line: i + 1, mark: m[1] + m[2], body: m[3:]})
		s.open = true
		return
	}
	if s.open {
		last := &s.pieces[len(s.pieces)-1]
		last.body = append(last.body, text)
		return
	}
	s.pieces = append(s.pieces, piece{kind: prose, line: i + 1, body: []string{text}})
	s.open = true
}

// find notes the links of a line to files of the same folder.
func (s *scanner) find(i int, text string) {
	for _, m := range linkTarget.FindAllStringSubmatch(codeSpan.ReplaceAllString(text, ""), -1) {
		target := strings.TrimPrefix(m[1]+m[2], "./")
		if !strings.Contains(target, "/") {
			s.links = append(s.links, link{i + 1, target})
		}
	}
}

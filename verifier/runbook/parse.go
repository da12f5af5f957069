package runbook

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// mistake is what is wrong in a line of a file.
type mistake struct {
	line int
	text string
}

// sections are those of every runbook, in this order.
var sections = []string{"Meaning", "Impact", "Diagnosis", "Mitigation"}

// parser walks over one file line by line.
type parser struct {
	book     *Runbook
	mistakes []mistake
	lines    []string
	n        int // index of the line that is read

	titles  []string // with their lines, for the title's own check
	section string
	seen    []string
	prose   []string // since the last block or heading
	cause   *Cause   // nil outside of causes
	step    *Step    // waits for what is expected of it
	cure    *Mitigation
	note    *string // goes on until an empty line
}

func (p *parser) wrong(line int, format string, args ...any) {
	p.mistakes = append(p.mistakes, mistake{line, fmt.Sprintf(format, args...)})
}

// parse reads one runbook and finds what is wrong in it alone.
func parse(name string, text []byte) (*Runbook, []mistake) {
	p := &parser{book: &Runbook{Name: name, Text: text}, lines: strings.Split(string(text), "\n")}
	p.frontMatter()
	for ; p.n < len(p.lines); p.n++ {
		line := strings.TrimRight(p.lines[p.n], " \r")
		switch trimmed := strings.TrimSpace(line); {
		case strings.HasPrefix(trimmed, "```"):
			p.fence(trimmed)
		case strings.HasPrefix(line, "#"):
			p.heading(line)
		default:
			p.text(trimmed)
		}
	}
	p.finish()
	return p.book, p.mistakes
}

// frontMatter reads the promises at the head of the file.
func (p *parser) frontMatter() {
	if strings.TrimSpace(p.lines[0]) != "---" {
		p.wrong(1, "no front matter: begin with --- and detect_within, recover_within")
		return
	}
	end := slices.IndexFunc(p.lines[1:], func(l string) bool { return strings.TrimSpace(l) == "---" })
	if end < 0 {
		p.wrong(1, "the front matter does not end: a line --- is missing")
		p.n = 1
		return
	}
	var head struct {
		DetectWithin  string   `json:"detect_within"`
		RecoverWithin string   `json:"recover_within"`
		AlsoTrue      []string `json:"also_true"`
		AlsoPages     []string `json:"also_pages"`
	}
	p.n = end + 2
	if err := yaml.UnmarshalStrict([]byte(strings.Join(p.lines[1:end+1], "\n")), &head); err != nil {
		p.wrong(1, "front matter: %v", err)
		return
	}
	p.book.DetectWithin = p.promise("detect_within", head.DetectWithin)
	p.book.RecoverWithin = p.promise("recover_within", head.RecoverWithin)
	p.book.AlsoTrue, p.book.AlsoPages = head.AlsoTrue, head.AlsoPages
}

// promise reads a duration of the front matter.
func (p *parser) promise(key, value string) time.Duration {
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 {
		p.wrong(p.lineOf(key), "%s is %q: want a duration such as 15s", key, value)
	}
	return d
}

// lineOf finds a key of the front matter; the first line if it is not there.
func (p *parser) lineOf(key string) int {
	for i, l := range p.lines[:min(p.n, len(p.lines))] {
		if strings.HasPrefix(l, key+":") {
			return i + 1
		}
	}
	return 1
}

// heading begins a section or a cause.
func (p *parser) heading(line string) {
	p.flush()
	level, title, _ := strings.Cut(line, " ")
	switch level {
	case "#":
		p.titles = append(p.titles, title)
		if title != p.book.Name {
			p.wrong(p.n+1, "the title is %q: want the file's name, %s", title, p.book.Name)
		}
	case "##":
		p.begin(title)
	case "###":
		name, ok := strings.CutPrefix(title, "Cause: ")
		if !ok || p.section != "Diagnosis" || strings.TrimSpace(name) == "" {
			if p.section == "Diagnosis" {
				p.wrong(p.n+1, "the heading %q: below Diagnosis only ### Cause: NAME", title)
			}
			return
		}
		p.book.Causes = append(p.book.Causes, Cause{Line: p.n + 1, Name: name})
		p.cause = &p.book.Causes[len(p.book.Causes)-1]
	}
}

// begin begins a section.
func (p *parser) begin(title string) {
	p.section, p.cause = title, nil
	i := slices.Index(sections, title)
	switch {
	case i < 0:
		p.wrong(p.n+1, "unknown section %q: want %s", title, strings.Join(sections, ", "))
	case slices.Contains(p.seen, title):
		p.wrong(p.n+1, "the section %s is there twice", title)
	case len(p.seen) > 0 && slices.Index(sections, p.seen[len(p.seen)-1]) > i:
		p.wrong(p.n+1, "the section %s comes after %s: want %s", title, p.seen[len(p.seen)-1], strings.Join(sections, ", "))
	}
	if i >= 0 {
		p.seen = append(p.seen, title)
	}
	if title == "Diagnosis" {
		p.book.diagnosisLine = p.n + 1
	}
}

// fence reads a block up to its end.
func (p *parser) fence(open string) {
	p.settle()
	begin, info := p.n, strings.Fields(strings.TrimLeft(open, "`"))
	for p.n++; p.n < len(p.lines); p.n++ {
		if strings.HasPrefix(strings.TrimSpace(p.lines[p.n]), "```") {
			p.block(begin+1, info, strings.TrimSpace(dedent(p.lines[begin+1:p.n])))
			return
		}
	}
	p.wrong(begin+1, "the block does not end: a line ``` is missing")
}

// dedent takes from lines what all of them are indented by.
func dedent(lines []string) string {
	least := -1
	for _, l := range lines {
		if strings.TrimSpace(l) == "" {
			continue
		}
		if n := len(l) - len(strings.TrimLeft(l, " ")); least < 0 || n < least {
			least = n
		}
	}
	cut := slices.Clone(lines)
	for i, l := range cut {
		cut[i] = l[min(max(least, 0), len(l)):]
	}
	return strings.Join(cut, "\n")
}

// block enters what a fence holds.
func (p *parser) block(line int, info []string, text string) {
	kind, target, err := blockKind(info)
	switch {
	case err != nil:
		p.wrong(line, "%v", err)
		return
	case text == "":
		p.wrong(line, "the block is empty")
		return
	}
	switch {
	case p.section == "Diagnosis":
		p.step = &Step{Line: line, Question: p.takeProse(), Kind: kind, Target: target, Query: text}
		if kind == "promql" {
			if err := balanced(text); err != nil {
				p.wrong(line, "the query cannot be PromQL: %v", err)
			}
		}
	case p.section == "Mitigation" && kind == "sh":
		p.prose = nil
		p.cure = &Mitigation{Line: line, Target: target, Command: text}
	case p.section == "Mitigation":
		p.wrong(line, "a query in Mitigation decides nothing: it belongs into Diagnosis")
	}
}

// blockKind reads "promql", "sh", "sh local" or "sh kubernetes".
func blockKind(info []string) (kind, target string, err error) {
	switch {
	case len(info) == 1 && (info[0] == "promql" || info[0] == "sh"):
		return info[0], "", nil
	case len(info) == 2 && info[0] == "sh" && (info[1] == "local" || info[1] == "kubernetes"):
		return info[0], info[1], nil
	}
	return "", "", fmt.Errorf("unknown kind of step %q: want promql, sh, sh local or sh kubernetes", strings.Join(info, " "))
}

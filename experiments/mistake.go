package experiments

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Mistake is one thing that is wrong with a manifest, and where.
type Mistake struct {
	File string
	Line int    // counted from 1
	What string // what is wrong, and what would be right
}

// Error has the form that editors and CI systems link: "file:line: what".
func (m Mistake) Error() string { return fmt.Sprintf("%s:%d: %s", m.File, m.Line, m.What) }

// Mistakes are all that is wrong with one or several manifests, in the order of
// files and, within a file, of discovery.
type Mistakes []Mistake

// Error is one line a mistake.
func (ms Mistakes) Error() string {
	lines := make([]string, len(ms))
	for i, m := range ms {
		lines[i] = m.Error()
	}
	return strings.Join(lines, "\n")
}

// source is a manifest's text as a tree that remembers lines, so that a mistake
// found in the typed object can be told at its place.
type source struct {
	file string
	root *yaml.Node // the top mapping; nil when the text is no YAML
}

func (s *source) mistake(path, format string, args ...any) Mistake {
	what := fmt.Sprintf(format, args...)
	if path != "" {
		what = path + ": " + what
	}
	return Mistake{File: s.file, Line: s.line(path), What: what}
}

// line is the line of the deepest part of path that is in the text. Segments
// that the text does not have are passed over: the typed API's own paths name
// embedded structs that YAML knows nothing of.
func (s *source) line(path string) int {
	if s.root == nil {
		return 1
	}
	node, line := s.root, max(1, s.root.Line)
	for rest := path; rest != ""; {
		next, at, tail := step(node, rest)
		if next != nil {
			node, line = next, at
		}
		rest = tail
	}
	return line
}

// step goes one segment down. A key may itself have dots (an annotation's has),
// so the longest prefix of path that is a key of the mapping wins.
func step(node *yaml.Node, path string) (next *yaml.Node, line int, tail string) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	head, tail := cutSegment(path)
	switch node.Kind {
	case yaml.MappingNode:
		longest := 0
		for i := 0; i+1 < len(node.Content); i += 2 {
			key := node.Content[i]
			n := len(key.Value)
			if n < longest || n > len(path) || !strings.EqualFold(path[:n], key.Value) {
				continue
			}
			if rest := path[n:]; rest == "" || rest[0] == '.' || rest[0] == '[' {
				longest, next, line = n, node.Content[i+1], key.Line
				tail = strings.TrimPrefix(rest, ".")
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(strings.Trim(head, "[]")); err == nil && i >= 0 && i < len(node.Content) {
			next, line = node.Content[i], node.Content[i].Line
		}
	}
	return next, line, tail
}

// cutSegment splits "a.b[0].c" after its first segment: "a" and "b[0].c", or
// "[0]" and "c".
func cutSegment(path string) (head, tail string) {
	end := strings.IndexAny(path[1:], ".[") + 1
	if end == 0 {
		return path, ""
	}
	return path[:end], strings.TrimPrefix(path[end:], ".")
}

var yamlLine = regexp.MustCompile(`line (\d+): ([^\n]*)`)

// yamlMistakes turns a YAML library's error, which may tell of several lines,
// into mistakes.
func yamlMistakes(file string, err error) Mistakes {
	var all Mistakes
	for _, m := range yamlLine.FindAllStringSubmatch(err.Error(), -1) {
		line, _ := strconv.Atoi(m[1])
		all = append(all, Mistake{File: file, Line: max(1, line), What: m[2]})
	}
	if all == nil {
		what := strings.TrimPrefix(err.Error(), "error converting YAML to JSON: ")
		all = Mistakes{{File: file, Line: 1, What: strings.TrimPrefix(what, "yaml: ")}}
	}
	return all
}

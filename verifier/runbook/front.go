package runbook

import (
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// The keys of the front matter.
const (
	detectWithin  = "detect_within"
	recoverWithin = "recover_within"
	alsoTrue      = "also_true"
	alsoPages     = "also_pages"
)

// named is a runbook's name where another one mentions it.
type named struct {
	line int
	key  string
	name string
}

// longestFront is more than anybody needs, in lines.
const longestFront = 100

// yamlLine is where the YAML parser stumbled, which it counts from 0 or from 1.
var yamlLine = regexp.MustCompile(`^yaml: (line \d+: )?`)

// broken is the line (from 1) at which text ceases to be YAML: that after its
// longest beginning that is.
func broken(text string) int {
	lines := strings.Split(text, "\n")
	for n := len(lines) - 1; n > 0; n-- {
		var doc yaml.Node
		if yaml.Unmarshal([]byte(strings.Join(lines[:n], "\n")), &doc) == nil {
			return n + 1
		}
	}
	return 1
}

// front reads the front matter and returns the index of the first line after it.
func (p *parser) front() int {
	if strings.TrimSpace(p.lines[0]) != "---" {
		p.wrong(1, "no front matter, want --- with %s and %s in the first lines", detectWithin, recoverWithin)
		return 0
	}
	for end := 1; end < len(p.lines); end++ {
		if strings.TrimSpace(p.lines[end]) == "---" {
			if end > longestFront {
				p.wrong(1, "the front matter has more than %d lines", longestFront)
				return end + 1
			}
			p.matter(strings.Join(p.lines[1:end], "\n"))
			return end + 1
		}
	}
	p.wrong(1, "the front matter is not closed, want a second line of ---")
	p.cut = true
	return len(p.lines)
}

// matter reads the YAML between the lines of ---.
func (p *parser) matter(text string) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		why := yamlLine.ReplaceAllString(strings.ReplaceAll(err.Error(), "\n", " "), "")
		p.wrong(broken(text)+1, "the front matter is no YAML: %s", why)
		return
	}
	seen := map[string]bool{}
	if len(doc.Content) == 1 {
		m := doc.Content[0]
		if m.Kind != yaml.MappingNode {
			p.wrong(m.Line+1, "the front matter is no mapping, want KEY: VALUE lines")
			return
		}
		for i := 0; i+1 < len(m.Content); i += 2 {
			key, value := m.Content[i], m.Content[i+1]
			if seen[key.Value] {
				p.wrong(key.Line+1, "%s stands twice in the front matter", key.Value)
			}
			seen[key.Value] = true
			p.key(key, value)
		}
	}
	for _, key := range []string{detectWithin, recoverWithin} {
		if !seen[key] {
			p.wrong(1, "the front matter has no %s, want a duration such as 15s", key)
		}
	}
}

func (p *parser) key(key, value *yaml.Node) {
	switch key.Value {
	case detectWithin:
		p.book.DetectWithin = p.duration(key.Value, value)
	case recoverWithin:
		p.book.RecoverWithin = p.duration(key.Value, value)
	case alsoTrue:
		p.book.AlsoTrue = p.names(key.Value, value)
	case alsoPages:
		p.book.AlsoPages = p.names(key.Value, value)
	default:
		p.wrong(key.Line+1, "unknown key %q in the front matter, want %s, %s, %s or %s", key.Value, detectWithin, recoverWithin, alsoTrue, alsoPages)
	}
}

func (p *parser) duration(key string, value *yaml.Node) time.Duration {
	d, err := time.ParseDuration(value.Value)
	if value.Kind != yaml.ScalarNode || err != nil || d <= 0 {
		p.wrong(value.Line+1, "%s: %q is no duration above 0, want one such as 15s", key, value.Value)
		return 0
	}
	return d
}

func (p *parser) names(key string, value *yaml.Node) []string {
	if value.Kind == yaml.ScalarNode && value.Tag == "!!null" {
		return nil
	}
	if value.Kind != yaml.SequenceNode {
		p.wrong(value.Line+1, "%s is no list, want [NAME, ...]", key)
		return nil
	}
	var names []string
	for _, n := range value.Content {
		if n.Kind != yaml.ScalarNode {
			p.wrong(n.Line+1, "%s holds something else than a name, want [NAME, ...]", key)
			continue
		}
		names = append(names, n.Value)
		p.named = append(p.named, named{n.Line + 1, key, n.Value})
	}
	return names
}

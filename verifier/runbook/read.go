package runbook

import (
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

// Read reads every runbook of a folder: *.md but README.md. The error names each
// mistake with file and line, and joins all of them.
func Read(fsys fs.FS) (Set, error) {
	names, err := fs.Glob(fsys, "*.md")
	if err != nil {
		return nil, fmt.Errorf("list runbooks: %w", err)
	}
	set, mistakes := Set{}, map[string][]mistake{}
	for _, file := range names {
		name := strings.TrimSuffix(file, ".md")
		if name == "README" {
			continue
		}
		text, err := fs.ReadFile(fsys, file)
		if err != nil {
			return nil, fmt.Errorf("read runbook: %w", err)
		}
		set[name], mistakes[name] = parse(name, text)
	}
	if len(set) == 0 {
		return nil, errors.New("there is no runbook")
	}
	for _, name := range set.Names() {
		mistakes[name] = append(mistakes[name], set.between(name)...)
	}
	return set, joined(mistakes)
}

// Names lists the runbooks in the order of the alphabet.
func (s Set) Names() []string {
	var names []string
	for name := range s {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

var link = regexp.MustCompile(`\]\(([A-Za-z0-9_-]+)\.md\)`)

// between finds mistakes that a file makes about others.
func (s Set) between(name string) (found []mistake) {
	book := s[name]
	lines := strings.Split(string(book.Text), "\n")
	say := func(part string, format string, args ...any) {
		i := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, part) })
		found = append(found, mistake{i + 1, fmt.Sprintf(format, args...)})
	}
	for _, other := range s.Names() {
		if other != name && strings.EqualFold(other, name) {
			say("# ", "two runbooks for one alert: %s.md and %s.md", name, other)
		}
	}
	for _, list := range []struct {
		key   string
		names []string
	}{{"also_true", book.AlsoTrue}, {"also_pages", book.AlsoPages}} {
		for _, other := range list.names {
			if s[other] == nil {
				say(list.key, "%s names %s, which has no runbook", list.key, other)
			}
		}
	}
	for i, l := range lines {
		for _, m := range link.FindAllStringSubmatch(l, -1) {
			if s[m[1]] == nil && m[1] != "README" {
				found = append(found, mistake{i + 1, fmt.Sprintf("a link to %s.md, which is not there", m[1])})
			}
		}
	}
	return append(found, s.sameTitle(book)...)
}

// sameTitle finds another file with the same title: two runbooks for one alert.
func (s Set) sameTitle(book *Runbook) (found []mistake) {
	for i, l := range strings.Split(string(book.Text), "\n") {
		title, ok := strings.CutPrefix(l, "# ")
		if ok && title != book.Name && s[title] != nil {
			found = append(found, mistake{i + 1, fmt.Sprintf("two runbooks for one alert: %s.md has this title too", title)})
		}
	}
	return found
}

func joined(mistakes map[string][]mistake) error {
	var names []string
	for name := range mistakes {
		names = append(names, name)
	}
	slices.Sort(names)
	var errs []error
	for _, name := range names {
		all := mistakes[name]
		slices.SortStableFunc(all, func(a, b mistake) int { return a.line - b.line })
		for _, m := range all {
			errs = append(errs, fmt.Errorf("runbooks/%s.md:%d: %s", name, m.line, m.text))
		}
	}
	return errors.Join(errs...)
}

package runbook

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Read reads every *.md of a folder apart from README.md, as those of runbooks/.
// The error joins every Mistake in all of them.
func Read(fsys fs.FS) (Set, error) { return ReadDir(fsys, "runbooks") }

// ReadDir is Read for a folder that Mistakes call dir.
func ReadDir(fsys fs.FS, dir string) (Set, error) {
	files, err := fs.Glob(fsys, "*.md")
	if err != nil {
		return nil, fmt.Errorf("list the runbooks of %s: %w", dir, err)
	}
	var all []*parser
	for _, file := range files {
		if file == "README.md" {
			continue
		}
		data, err := fs.ReadFile(fsys, file)
		if err != nil {
			return nil, fmt.Errorf("read runbook %s: %w", path.Join(dir, file), err)
		}
		all = append(all, parse(path.Join(dir, file), strings.TrimSuffix(file, ".md"), data))
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: there is no runbook, want <AlertName>.md", dir)
	}
	references(all, files)
	twins(all)
	return collect(all)
}

// collect returns the runbooks if there is no mistake in any.
func collect(all []*parser) (Set, error) {
	set := Set{}
	var mistakes []error
	for _, p := range all {
		set[p.book.Name] = p.book
		slices.SortStableFunc(p.mistakes, func(a, b Mistake) int { return cmp.Compare(a.Line, b.Line) })
		for _, m := range p.mistakes {
			mistakes = append(mistakes, m)
		}
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	return set, nil
}

// references finds names and links that lead nowhere.
func references(all []*parser, files []string) {
	for _, p := range all {
		seen := map[named]bool{}
		for _, n := range p.named {
			key := named{0, n.key, n.name}
			switch {
			case n.name == p.book.Name:
				p.wrong(n.line, "%s names this runbook itself", n.key)
			case seen[key]:
				p.wrong(n.line, "%s names %s twice", n.key, n.name)
			case !slices.ContainsFunc(all, func(o *parser) bool { return o.book.Name == n.name }):
				p.wrong(n.line, "%s names %q, and there is no runbook %s.md", n.key, n.name, n.name)
			}
			seen[key] = true
		}
		for _, l := range p.links {
			if !slices.Contains(files, l.target) {
				p.wrong(l.line, "a link to %s, and there is no such runbook", l.target)
			}
		}
	}
}

// twins finds two runbooks for one alert: a title that stands in two files, and
// names that differ in case alone, which is one file on some disks.
func twins(all []*parser) {
	for i, p := range all {
		for _, other := range all[:i] {
			switch {
			case strings.EqualFold(p.book.Name, other.book.Name):
				p.wrong(max(1, p.title.line), "two runbooks for one alert: %s differs in case alone", other.file)
			case p.title.line > 0 && strings.EqualFold(p.title.text(), other.title.text()):
				p.wrong(p.title.line, "two runbooks for one alert: %s has the title %q as well", other.file, other.title.text())
			}
		}
	}
}

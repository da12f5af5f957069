package gameday

import (
	"slices"
	"strings"
)

// Hints are the steps of a runbook's Diagnosis, in order: each its question, its
// query and what to expect, as they stand in the page. What would only name the
// experiment is left out.
func Hints(page string) []string {
	var hints []string
	var step []string
	end := func() {
		if text := strings.TrimSpace(strings.Join(step, "\n")); text != "" {
			hints = append(hints, text)
		}
		step = nil
	}
	for _, paragraph := range paragraphs(diagnosis(page)) {
		first := paragraph[0]
		if strings.HasPrefix(first, "Injected by:") || strings.HasPrefix(first, "Not injectable:") {
			continue
		}
		step = append(step, paragraph...)
		if strings.HasPrefix(first, "Expected:") || strings.HasPrefix(first, "Look:") {
			end()
		}
	}
	end()
	return hints
}

// diagnosis is the lines of the section of that name.
func diagnosis(page string) []string {
	lines := strings.Split(strings.ReplaceAll(page, "\r\n", "\n"), "\n")
	begin := slices.Index(lines, "## Diagnosis")
	if begin < 0 {
		return nil
	}
	lines = lines[begin+1:]
	if end := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "## ") }); end >= 0 {
		lines = lines[:end]
	}
	return lines
}

// paragraphs splits lines at blank ones; a fenced block ends a paragraph, and is
// not split.
func paragraphs(lines []string) (all [][]string) {
	var current []string
	fenced := false
	flush := func() {
		if len(current) > 0 {
			all = append(all, current)
		}
		current = nil
	}
	for _, line := range lines {
		if fence := strings.HasPrefix(line, "```"); fence || fenced {
			current = append(current, line)
			if fence && fenced {
				flush()
			}
			fenced = fenced != fence
			continue
		}
		if strings.TrimSpace(line) == "" {
			flush()
			continue
		}
		current = append(current, line)
	}
	flush()
	return all
}

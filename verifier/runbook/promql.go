package runbook

import (
	"fmt"
	"strings"
)

// unbalanced says which bracket or quote of a query is open or closed once too
// often, and in which of its lines (from 0). The grammar itself is Prometheus'
// to judge, whose parser is too heavy a dependency for this.
func unbalanced(query string) (line int, wrong string) {
	type open struct {
		char rune
		line int
	}
	var stack []open
	var quote open
	escaped, comment := false, false
	for _, c := range query {
		switch {
		case c == '\n':
			if quote.char == '"' || quote.char == '\'' {
				return quote.line, fmt.Sprintf("the quote %c is not closed in its line", quote.char)
			}
			line, comment = line+1, false
		case comment:
		case quote.char != 0:
			switch {
			case escaped:
				escaped = false
			case c == '\\' && quote.char != '`':
				escaped = true
			case c == quote.char:
				quote.char = 0
			}
		case c == '#':
			comment = true
		case strings.ContainsRune("\"'`", c):
			quote = open{c, line}
		case strings.ContainsRune("([{", c):
			stack = append(stack, open{c, line})
		case strings.ContainsRune(")]}", c):
			if len(stack) == 0 || pairs[stack[len(stack)-1].char] != c {
				return line, fmt.Sprintf("the bracket %c closes none that is open", c)
			}
			stack = stack[:len(stack)-1]
		}
	}
	switch {
	case quote.char != 0:
		return quote.line, fmt.Sprintf("the quote %c is not closed", quote.char)
	case len(stack) > 0:
		last := stack[len(stack)-1]
		return last.line, fmt.Sprintf("the bracket %c is not closed", last.char)
	}
	return 0, ""
}

var pairs = map[rune]rune{'(': ')', '[': ']', '{': '}'}

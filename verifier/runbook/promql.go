package runbook

import (
	"fmt"
	"strings"
)

// opened is a bracket or a quote, and the line of a query (from 0) where it stands.
type opened struct {
	char rune
	line int
}

// lexer knows as much of PromQL as brackets, quotes and comments. The grammar itself
// is Prometheus' to judge, whose parser is too heavy a dependency for this.
type lexer struct {
	brackets         []opened
	quote            opened // its char is 0 outside of quotes
	escaped, comment bool
	line             int
}

var pairs = map[rune]rune{')': '(', ']': '[', '}': '{'}

// unbalanced says which bracket or quote of a query is open or closed once too
// often, and in which of its lines (from 0); "" for none.
func unbalanced(query string) (line int, wrong string) {
	var l lexer
	for _, c := range query {
		if line, wrong := l.next(c); wrong != "" {
			return line, wrong
		}
	}
	switch {
	case l.quote.char != 0:
		return l.quote.line, fmt.Sprintf("the quote %c is not closed", l.quote.char)
	case len(l.brackets) > 0:
		last := l.brackets[len(l.brackets)-1]
		return last.line, fmt.Sprintf("the bracket %c is not closed", last.char)
	}
	return 0, ""
}

// next takes a character.
func (l *lexer) next(c rune) (line int, wrong string) {
	switch {
	case c == '\n':
		if l.quote.char == '"' || l.quote.char == '\'' {
			return l.quote.line, fmt.Sprintf("the quote %c is not closed in its line", l.quote.char)
		}
		l.line, l.comment = l.line+1, false
	case l.comment:
	case l.quote.char != 0:
		l.quoted(c)
	case c == '#':
		l.comment = true
	case strings.ContainsRune("\"'`", c):
		l.quote = opened{c, l.line}
	case strings.ContainsRune("([{", c):
		l.brackets = append(l.brackets, opened{c, l.line})
	case strings.ContainsRune(")]}", c):
		if n := len(l.brackets); n == 0 || l.brackets[n-1].char != pairs[c] {
			return l.line, fmt.Sprintf("the bracket %c closes none that is open", c)
		}
		l.brackets = l.brackets[:len(l.brackets)-1]
	}
	return 0, ""
}

// quoted takes a character inside of quotes.
func (l *lexer) quoted(c rune) {
	switch {
	case l.escaped:
		l.escaped = false
	case c == '\\' && l.quote.char != '`':
		l.escaped = true
	case c == l.quote.char:
		l.quote.char = 0
	}
}

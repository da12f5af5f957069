//go:build linux

package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// relay puts a pipe in the place of standard input and passes on to it what is
// typed. A confined process is in the background of its terminal, and would be
// stopped if it read from that; and who sits at a terminal that goes away can
// stop nothing any more, so that an abort is typed for them.
func relay() error {
	out, in, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("pass on what is typed: %w", err)
	}
	typed := os.Stdin
	os.Stdin = out
	go func() {
		defer in.Close()
		pass(in, typed, term.IsTerminal(int(typed.Fd())))
	}()
	return nil
}

// pass copies what is typed. A Ctrl-D ends nothing at a terminal; one that is
// gone answers with nothing but ends, or with an error.
func pass(to io.Writer, typed io.Reader, terminal bool) {
	buffer := make([]byte, 4096)
	ends := 0
	for {
		begun := time.Now()
		n, err := typed.Read(buffer)
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return // nobody listens any more
			}
		}
		if err == nil {
			continue
		}
		if time.Since(begun) > 100*time.Millisecond {
			ends = 0 // somebody is there, and has typed it
		}
		if ends++; err == io.EOF && terminal && ends < 3 {
			continue
		}
		if terminal {
			_, _ = io.WriteString(to, "\nabort the terminal is gone\n")
		}
		return
	}
}

package runbook_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"seatrial/verifier/runbook"
)

var located = regexp.MustCompile(`^runbooks/X\.md:(\d+): .`)

// FuzzRead: whatever a file holds, it is read as a runbook that can be decided, or each mistake has
// a line of that file.
func FuzzRead(f *testing.F) {
	f.Add(string(ticked(strings.NewReplacer("# Other", "# X").Replace(other))))
	f.Add(string(ticked(good)))
	for _, m := range mistakes {
		f.Add(string(ticked(strings.Replace(good, m.old, m.now, 1))))
	}
	f.Fuzz(func(t *testing.T, text string) {
		set, err := runbook.Read(fstest.MapFS{"X.md": {Data: []byte(text)}})
		if err == nil && (len(set) != 1 || len(set["X"].Plan()) == 0) {
			t.Fatalf("no mistake, and nothing that decides: %+v", set)
		}
		for _, line := range list(err) {
			m := located.FindStringSubmatch(line)
			if m == nil {
				t.Fatalf("a mistake without file and line: %q", line)
			}
			var at int
			if _, err := fmt.Sscan(m[1], &at); err != nil || at < 1 || at > strings.Count(text, "\n")+1 {
				t.Fatalf("%q is outside of the file", line)
			}
		}
	})
}

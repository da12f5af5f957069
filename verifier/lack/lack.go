// Package lack says what becomes of a test that lacks what it needs, such as a program of .deps
// or a terminal: it is skipped, or fails where everything has been set up for it.
//
// It is for tests alone, anybody's, and knows nothing of what they need.
package lack

import (
	"os"
	"testing"
)

// Variable is the environment variable that is 1 where nothing may be lacking: `make unit` sets it.
const Variable = "SEATRIAL_MUST"

// Of ends a test that cannot be held, for a reason that names what is missing.
func Of(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv(Variable) == "1" {
		t.Fatalf("nothing may be lacking ("+Variable+"=1): "+format, args...)
	}
	t.Skipf(format, args...)
}

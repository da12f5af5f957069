package lack

import (
	"fmt"
	"testing"
)

// spoken is a test that only says how it ended.
type spoken struct {
	testing.TB
	said string
}

func (s *spoken) Helper() {}
func (s *spoken) Skipf(format string, args ...any) {
	s.said += "skipped: " + fmt.Sprintf(format, args...)
}
func (s *spoken) Fatalf(format string, args ...any) {
	s.said += "failed: " + fmt.Sprintf(format, args...)
	panic("ended")
}

func TestWhatIsLackingSkipsOrFails(t *testing.T) {
	for value, want := range map[string]string{
		"":  "skipped: no promtool",
		"0": "skipped: no promtool",
		"1": "failed: nothing may be lacking (SEATRIAL_MUST=1): no promtool",
	} {
		t.Setenv(Variable, value)
		s := &spoken{TB: t}
		func() {
			defer func() { _ = recover() }()
			Of(s, "no %s", "promtool")
		}()
		if s.said != want {
			t.Errorf("%s=%s: %q, want %q", Variable, value, s.said, want)
		}
	}
}

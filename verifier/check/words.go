package check

import (
	"fmt"
	"strings"
)

const (
	maxIDs = 20 // ids that a Finding lists
	quoted = 3  // ids that its reason quotes
)

// breach collects the tasks that broke a Guarantee in one way.
type breach struct {
	what  string // what happened to them, as in "3 tasks lost"
	count int
	ids   []string // of the first of them, at most maxIDs
	most  uint32   // effects of the worst of them, where that is the breach
}

// task adds task n.
func (b *breach) task(l *Ledger, n uint64) {
	b.count++
	if len(b.ids) < maxIDs {
		b.ids = append(b.ids, l.header.ID(n))
	}
}

// repeated adds task n if it took effect more than once.
func (b *breach) repeated(l *Ledger, n uint64, t *task) {
	if t.effects < 2 {
		return
	}
	b.task(l, n)
	b.most = max(b.most, t.effects)
	b.what = "done twice"
	if b.most > 2 {
		b.what = fmt.Sprintf("done up to %d times", b.most)
	}
}

// sentence tells breaches: "3 tasks lost (t-1, t-7, t-9), 1 task done twice (t-4)".
func sentence(all []breach) string {
	var parts []string
	for _, b := range all {
		if b.count > 0 {
			parts = append(parts, fmt.Sprintf("%s %s (%s)", count(b.count, "task"), b.what, b.quote()))
		}
	}
	return strings.Join(parts, ", ")
}

func (b *breach) quote() string {
	ids := b.ids[:min(len(b.ids), quoted)]
	s := strings.Join(ids, ", ")
	if b.count > len(ids) {
		s += ", …"
	}
	return s
}

// count says "1 task" or "3 tasks".
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

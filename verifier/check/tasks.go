package check

import (
	"iter"
	"maps"
	"slices"
	"time"

	"seatrial/loadgen/history"
)

// What is known of a task, as bits.
const (
	opAccepted = 1 << iota // some Op was accepted
	opRefused              // some Op was refused
	opUnknown              // some Op ended unknown
	held                   // the system named it
	dead                   // the system put it aside
)

// task is all that the Ledger keeps of one task: 24 bytes.
type task struct {
	acceptedAt time.Duration // end of the earliest accepted Op
	doneAt     time.Duration // meaningful when effects > 0
	effects    uint32
	bits       uint8
}

// outcome joins the outcomes of all Ops of the task; 0 when there was none.
func (t *task) outcome() history.Outcome {
	switch {
	case t.bits&opAccepted != 0:
		return history.Accepted
	case t.bits&opUnknown != 0:
		return history.Unknown
	case t.bits&opRefused != 0:
		return history.Refused
	}
	return 0
}

func outcomeBit(o history.Outcome) (bit uint8, ok bool) {
	switch o {
	case history.Accepted:
		return opAccepted, true
	case history.Refused:
		return opRefused, true
	case history.Unknown:
		return opUnknown, true
	}
	return 0, false
}

// Task numbers are dense as the load generator deals them, so tasks live in
// pages of neighbours. A History that was made up may hold any 64-bit numbers:
// when pages stay mostly empty, further ones are not opened, and the numbers
// that belong there go to a map. Memory thus grows with the count of tasks and
// never with their numbers.
const (
	pageLen   = 1 << 10
	slack     = 1 << 22 // places that may be empty before density counts: 100 MB
	maxSparse = 2       // places a task, beyond the slack
)

type page [pageLen]task

// tasks finds a task by its number. Its zero value is empty.
type tasks struct {
	pages  map[uint64]*page
	sparse map[uint64]*task
	known  int // tasks that were ever asked for

	lastKey uint64 // the page that was used last: Ops come in order, nearly
	last    *page
}

// at returns the task with number n, making it if it is not there. The pointer
// stays good.
func (s *tasks) at(n uint64) *task {
	p := s.page(n / pageLen)
	if p == nil {
		return s.sparseAt(n)
	}
	t := &p[n%pageLen]
	if t.bits == 0 {
		s.known++
	}
	return t
}

// page returns the page with the given key, or nil when the numbers are too
// sparse to open another one. What is in the map stays in the map: a number
// whose page came too late is found there first.
func (s *tasks) page(key uint64) *page {
	if s.last != nil && s.lastKey == key {
		return s.last
	}
	p := s.pages[key]
	if p == nil {
		// A page that was once refused stays refused, else its first tasks
		// would be in the map and the later ones in the page.
		if len(s.sparse) > 0 || len(s.pages)*pageLen > slack+maxSparse*s.known {
			return nil
		}
		if s.pages == nil {
			s.pages = map[uint64]*page{}
		}
		p = new(page)
		s.pages[key] = p
	}
	s.lastKey, s.last = key, p
	return p
}

func (s *tasks) sparseAt(n uint64) *task {
	t := s.sparse[n]
	if t == nil {
		if s.sparse == nil {
			s.sparse = map[uint64]*task{}
		}
		t = new(task)
		s.sparse[n] = t
		s.known++
	}
	return t
}

// all yields every task that was asked for, by ascending number.
func (s *tasks) all() iter.Seq2[uint64, *task] {
	return func(yield func(uint64, *task) bool) {
		loners := slices.Sorted(maps.Keys(s.sparse))
		for _, key := range slices.Sorted(maps.Keys(s.pages)) {
			for len(loners) > 0 && loners[0] < key*pageLen {
				if !yield(loners[0], s.sparse[loners[0]]) {
					return
				}
				loners = loners[1:]
			}
			if !s.pages[key].all(key*pageLen, yield) {
				return
			}
		}
		for _, n := range loners {
			if !yield(n, s.sparse[n]) {
				return
			}
		}
	}
}

// all yields the known tasks of a page that begins at number first, and says
// whether the reader wants more.
func (p *page) all(first uint64, yield func(uint64, *task) bool) bool {
	for i := range p {
		if t := &p[i]; t.bits != 0 && !yield(first+uint64(i), t) {
			return false
		}
	}
	return true
}

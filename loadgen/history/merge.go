package history

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Merge writes one History to dst out of those that several replicas wrote of
// one load, ordered by planned time. Offsets are moved onto the earliest Start,
// so the replicas' wall clocks must agree as well as the reader of the result
// needs them to. All sources must have the same Prefix, else a task number would
// mean two ids.
//
// It holds all Ops in memory, some 60 bytes each. When a source is truncated
// or corrupt, its sound Ops are merged, the result is left without a footer (it
// is itself truncated), and the error says which source it was. A nil source
// stands for a replica whose record is gone, and is as bad.
func Merge(dst io.Writer, sources ...*Reader) (Header, error) {
	header, err := mergeHeaders(sources)
	if err != nil {
		return Header{}, err
	}
	var ops []Op
	var faults []error
	for i, src := range sources {
		if src == nil {
			faults = append(faults, fmt.Errorf("merge source %d: its record is gone", i))
			continue
		}
		shift := src.Header().Start.Sub(header.Start)
		for op, err := range src.All() {
			if err != nil {
				faults = append(faults, fmt.Errorf("merge source %d: %w", i, err))
				break
			}
			op.shift(shift)
			ops = append(ops, op)
		}
	}
	slices.SortStableFunc(ops, func(a, b Op) int { return cmp.Compare(a.Planned, b.Planned) })
	return header, errors.Join(append(faults, writeAll(dst, header, ops, len(faults) == 0))...)
}

func (o *Op) shift(by time.Duration) {
	o.Planned += by
	o.Sent += by
	o.End += by
}

func mergeHeaders(sources []*Reader) (Header, error) {
	first := slices.IndexFunc(sources, func(r *Reader) bool { return r != nil })
	if first < 0 {
		return Header{}, errors.New("merge histories: there is none")
	}
	header := sources[first].Header()
	for i, src := range sources {
		if src == nil {
			continue
		}
		h := src.Header()
		if h.Prefix != header.Prefix {
			return Header{}, fmt.Errorf("merge histories: source %d has prefix %q, source %d has %q", first, header.Prefix, i, h.Prefix)
		}
		if h.Start.Before(header.Start) {
			header.Start = h.Start
		}
	}
	return header, nil
}

// nopCloser hides dst's Close from the Writer: dst belongs to the caller.
type nopCloser struct{ io.Writer }

func (n nopCloser) Name() string { return nameOf(n.Writer) }

func writeAll(dst io.Writer, h Header, ops []Op, complete bool) error {
	w, err := NewWriter(nopCloser{dst}, h)
	if err != nil {
		return err
	}
	for i := range ops {
		if err := w.Append(&ops[i]); err != nil {
			return errors.Join(err, w.Abandon())
		}
	}
	if !complete {
		return w.Abandon()
	}
	return w.Close()
}

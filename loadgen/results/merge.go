package results

import (
	"errors"
	"fmt"
	"io"
	"slices"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// Merge writes the results of several attacks as one file, in the order in which
// requests were sent. Each result keeps its attack's name, and with it its sequence
// number its meaning. It holds all of them in memory.
//
// The sound part of a source that is damaged is kept, and the error says which it was.
func Merge(w io.Writer, sources ...io.Reader) error {
	var all []vegeta.Result
	var errs []error
	for i, src := range sources {
		err := read(src, func(r *vegeta.Result) error { all = append(all, *r); return nil })
		if err != nil {
			errs = append(errs, fmt.Errorf("merge results: source %d: %w", i, err))
		}
	}
	slices.SortStableFunc(all, func(a, b vegeta.Result) int { return a.Timestamp.Compare(b.Timestamp) })
	encode := vegeta.NewEncoder(w)
	for i := range all {
		if err := encode(&all[i]); err != nil {
			return errors.Join(append(errs, fmt.Errorf("merge results: %w", err))...)
		}
	}
	return errors.Join(errs...)
}

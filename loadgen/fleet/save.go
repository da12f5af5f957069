package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"seatrial/loadgen/control"
	"seatrial/loadgen/history"
	"seatrial/loadgen/results"
)

// Files says where Save puts each file of a load.
type Files map[control.File]string

// Save writes the files of a load that is over: of a fleet of one its files as
// they are, else the Histories merged by planned time, Vegeta's results of all
// shares by the time they were sent (each under its own attack's name), and the
// reports out of those.
//
// When a share is gone, the others' is saved all the same, the History without
// its footer, and the error says which.
func (f *Fleet) Save(ctx context.Context, files Files) error {
	if len(f.replicas) == 1 {
		return f.copy(ctx, files)
	}
	var errs []error
	if to, ok := files[control.History]; ok {
		errs = append(errs, create(to, func(w io.Writer) error { return f.history(ctx, w) }))
	}
	to, ok := files[control.Results]
	if !ok {
		return errors.Join(errs...)
	}
	errs = append(errs, create(to, func(w io.Writer) error { return f.results(ctx, w) }))
	for file, fill := range map[control.File]func(io.Writer) error{
		control.Report: func(w io.Writer) error { return results.Text(w, to) },
		control.HDR:    func(w io.Writer) error { return results.HDR(w, to) },
		control.Plot:   func(w io.Writer) error { return results.Plot(w, to, f.id) },
	} {
		if path, ok := files[file]; ok {
			errs = append(errs, create(path, fill))
		}
	}
	return errors.Join(errs...)
}

func (f *Fleet) copy(ctx context.Context, files Files) error {
	r := &f.replicas[0]
	var errs []error
	for file, path := range files {
		errs = append(errs, create(path, func(w io.Writer) error { return r.Copy(ctx, r.id, file, w) }))
	}
	return errors.Join(errs...)
}

func create(path string, fill func(io.Writer) error) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(fill(file), file.Close())
}

// history merges the shares' Histories. A nil Reader tells Merge that one is gone.
func (f *Fleet) history(ctx context.Context, w io.Writer) error {
	sources := make([]*history.Reader, len(f.replicas))
	bodies, err := f.open(ctx, control.History)
	defer closeAll(bodies)
	for i, body := range bodies {
		if body == nil {
			continue
		}
		r, readErr := history.NewReader(body)
		if readErr != nil {
			err = errors.Join(err, fmt.Errorf("load generator %s: %w", f.replicas[i].url, readErr))
			continue
		}
		sources[i] = r
	}
	_, mergeErr := history.Merge(w, sources...)
	return errors.Join(err, mergeErr)
}

// results merges the shares' results.
func (f *Fleet) results(ctx context.Context, w io.Writer) error {
	bodies, err := f.open(ctx, control.Results)
	defer closeAll(bodies)
	var sources []io.Reader
	for _, body := range bodies {
		if body != nil {
			sources = append(sources, body)
		}
	}
	return errors.Join(err, results.Merge(w, sources...))
}

// open opens a file of every share; those that cannot be are nil and in the error.
func (f *Fleet) open(ctx context.Context, file control.File) ([]io.ReadCloser, error) {
	bodies := make([]io.ReadCloser, len(f.replicas))
	err := f.each(func(i int, r *replica) error {
		body, err := r.Open(ctx, r.id, file)
		if err == nil {
			bodies[i] = body
		}
		return err
	})
	return bodies, err
}

func closeAll(bodies []io.ReadCloser) {
	for _, b := range bodies {
		if b != nil {
			b.Close()
		}
	}
}

package history

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"
)

// ErrClosed is returned when an Op is appended to a closed Writer.
var ErrClosed = errors.New("the writer is closed")

// Writer writes a History. Its methods may be called concurrently. What was
// appended reaches the file within a second, so that a killed process loses at
// most that much. After the first error every call returns that error; what was
// written before stays readable.
type Writer struct {
	mu      sync.Mutex
	out     io.Writer
	name    string
	payload []byte // the open block
	frame   []byte // scratch for a block with its head
	kinds   map[kind]uint64
	last    kind
	lastID  uint64
	prev    Op // Task and Planned of the Op before, for the deltas
	inBlock uint64
	ops     uint64
	sum     uint32
	err     error
	closed  bool
	stop    chan struct{}
	stopped sync.WaitGroup
}

// Create makes the file at path, which must not exist yet, and opens a History in it.
// Close closes the file.
func Create(path string, h Header) (*Writer, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, fmt.Errorf("create history: %w", err)
	}
	w, err := NewWriter(f, h)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return w, nil
}

// NewWriter writes the Header to out at once and returns a Writer that goes on
// behind it. If out is an io.Closer, Close closes it. Errors name out when it
// has a Name method, as files have.
func NewWriter(out io.Writer, h Header) (*Writer, error) {
	w := &Writer{out: out, name: nameOf(out), kinds: map[kind]uint64{}, stop: make(chan struct{})}
	text, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encode header of %s: %w", w.name, err)
	}
	if len(text) > headerMax {
		return nil, fmt.Errorf("encode header of %s: %d bytes, at most %d", w.name, len(text), headerMax)
	}
	head := append([]byte(magic), version)
	head = binary.AppendUvarint(head, uint64(len(text)))
	head = append(head, text...)
	head = w.appendSum(head, text)
	if w.write(head); w.err != nil {
		return nil, w.err
	}
	w.stopped.Go(w.flushEachPeriod)
	return w, nil
}

func nameOf(x any) string {
	if f, ok := x.(interface{ Name() string }); ok {
		return f.Name()
	}
	return "history"
}

// Append adds op. It refuses an Op without a valid Outcome; that error does not stick.
func (w *Writer) Append(op *Op) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	if w.closed {
		return fmt.Errorf("append to %s: %w", w.name, ErrClosed)
	}
	if err := w.appendKind(op.kind()); err != nil {
		return fmt.Errorf("append to %s: %w", w.name, err)
	}
	b := binary.AppendVarint(w.payload, int64(op.Task-w.prev.Task))
	b = binary.AppendVarint(b, int64(op.Planned-w.prev.Planned))
	b = binary.AppendVarint(b, int64(op.Sent-op.Planned))
	w.payload = binary.AppendVarint(b, int64(op.End-op.Sent))
	w.prev.Task, w.prev.Planned = op.Task, op.Planned
	w.inBlock++
	if len(w.payload) >= blockBytes {
		w.flush()
	}
	return w.err
}

// appendKind adds the number of k, and k itself when this block has not seen it.
func (w *Writer) appendKind(k kind) error {
	if w.inBlock > 0 && k == w.last {
		w.payload = binary.AppendUvarint(w.payload, w.lastID)
		return nil
	}
	if err := k.check(); err != nil {
		return err
	}
	id, known := w.kinds[k]
	if !known {
		id = uint64(len(w.kinds))
		w.kinds[k] = id
	}
	w.last, w.lastID = k, id
	w.payload = binary.AppendUvarint(w.payload, id)
	if !known {
		w.payload = append(w.payload, byte(k.outcome))
		w.payload = binary.AppendUvarint(w.payload, uint64(k.code))
		w.payload = binary.AppendUvarint(w.payload, uint64(len(k.cause)))
		w.payload = append(w.payload, k.cause...)
	}
	return nil
}

// Flush hands everything appended so far to the file.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flush()
	return w.err
}

// flush writes the open block and starts an empty one. The caller holds mu.
func (w *Writer) flush() {
	if w.inBlock == 0 || w.err != nil {
		return
	}
	b := append(w.frame[:0], tagBlock)
	b = binary.AppendUvarint(b, w.inBlock)
	b = binary.AppendUvarint(b, uint64(len(w.payload)))
	b = w.appendSum(b, w.payload)
	w.frame = append(b, w.payload...)
	w.ops += w.inBlock
	w.payload, w.inBlock, w.prev = w.payload[:0], 0, Op{}
	clear(w.kinds)
	w.write(w.frame)
}

// appendSum appends the checksum of data to b and folds it into the History's.
func (w *Writer) appendSum(b, data []byte) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(data, castagnoli))
	w.sum = crc32.Update(w.sum, castagnoli, b[start:])
	return b
}

func (w *Writer) write(b []byte) {
	if _, err := w.out.Write(b); err != nil {
		// A PathError would name the file a second time.
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			err = pe.Err
		}
		w.err = fmt.Errorf("write %s: %w", w.name, err)
	}
}

func (w *Writer) flushEachPeriod() {
	tick := time.NewTicker(flushPeriod)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-tick.C:
			_ = w.Flush() // the error sticks: the next Append or Close returns it
		}
	}
}

// Close writes the footer that proves the History complete, and closes the file.
// A History whose Close did not return nil is truncated. Closing twice is harmless.
func (w *Writer) Close() error { return w.finish(true) }

// Abandon flushes what was appended and closes the file without a footer: a
// reader will call it truncated. It is for a record that is known to lack something.
func (w *Writer) Abandon() error { return w.finish(false) }

func (w *Writer) finish(complete bool) error {
	w.mu.Lock()
	if w.closed {
		defer w.mu.Unlock()
		return w.err
	}
	w.closed = true
	w.flush()
	if w.err == nil && complete {
		foot := binary.AppendUvarint([]byte{tagFooter}, w.ops)
		w.write(binary.LittleEndian.AppendUint32(foot, w.sum))
	}
	w.closeOut()
	err := w.err
	w.mu.Unlock()
	close(w.stop)
	w.stopped.Wait()
	return err
}

func (w *Writer) closeOut() {
	if f, ok := w.out.(*os.File); ok && w.err == nil {
		if err := f.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
			w.err = fmt.Errorf("write %s: %w", w.name, err)
		}
	}
	if c, ok := w.out.(io.Closer); ok {
		if err := c.Close(); err != nil && w.err == nil {
			w.err = fmt.Errorf("close %s: %w", w.name, err)
		}
	}
}

// Ops returns how many Ops were appended.
func (w *Writer) Ops() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ops + w.inBlock
}

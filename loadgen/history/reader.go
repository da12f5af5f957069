package history

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"os"
	"time"
)

// Reader reads a History as a stream, in the order in which it was written (by
// the end of the Ops, roughly). It is not safe for concurrent use.
type Reader struct {
	in     *bufio.Reader
	closer io.Closer
	name   string
	header Header
	offset int64 // bytes taken from in
	sound  int64 // end of the last verified part
	ops    uint64
	sum    uint32
	err    error

	payload []byte // the block at hand
	pos     int
	left    uint64 // Ops of the block not yet returned
	kinds   []kind
	prev    Op
}

// Open opens the History in the file at path; Close closes it.
func Open(path string) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open history: %w", err)
	}
	r, err := NewReader(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	r.closer = f
	return r, nil
}

// NewReader reads the Header of the History in src. The error wraps ErrForeign,
// ErrTruncated or ErrCorrupt, or is the one of src.
func NewReader(src io.Reader) (*Reader, error) {
	r := &Reader{in: bufio.NewReaderSize(src, 128<<10), name: nameOf(src)}
	if err := r.readHeader(); err != nil {
		return nil, err
	}
	r.sound = r.offset
	return r, nil
}

// Header returns the History's Header.
func (r *Reader) Header() Header { return r.header }

// Close closes the file that Open opened.
func (r *Reader) Close() error {
	if r.closer == nil {
		return nil
	}
	return r.closer.Close()
}

// Next fills op with the next Op. It returns io.EOF after the last Op of a
// History that was closed properly, and only then. Any other error says why
// there are no more; the Ops returned before it are sound, and the error repeats.
func (r *Reader) Next(op *Op) error {
	for r.left == 0 {
		if r.err == nil {
			r.err = r.nextFrame()
		}
		if r.err != nil {
			return r.err
		}
	}
	if err := r.decode(op); err != nil {
		r.err, r.left = err, 0
		return err
	}
	r.left--
	r.ops++
	return nil
}

// All yields the Ops one by one; the last pair has an error unless the History is sound and complete.
func (r *Reader) All() iter.Seq2[Op, error] {
	return func(yield func(Op, error) bool) {
		var op Op
		for {
			err := r.Next(&op)
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(Op{}, err)
				return
			}
			if !yield(op, nil) {
				return
			}
		}
	}
}

func (r *Reader) readHeader() error {
	head := make([]byte, len(magic)+1)
	n, err := io.ReadFull(r.in, head)
	r.offset += int64(n)
	if string(head[:min(n, len(magic))]) != magic[:min(n, len(magic))] {
		return r.fault(ErrForeign, "its first bytes are not those of a History")
	}
	if err != nil {
		return r.cut(err, "cut inside the header")
	}
	if head[len(magic)] != version {
		return r.fault(ErrForeign, fmt.Sprintf("version %d, this reader knows version %d", head[len(magic)], version))
	}
	size, err := r.uvarint()
	if err != nil {
		return r.cut(err, "cut inside the header")
	}
	if size > headerMax {
		return r.fault(ErrCorrupt, fmt.Sprintf("header of %d bytes", size))
	}
	text := make([]byte, size)
	if err := r.full(text); err != nil {
		return r.cut(err, "cut inside the header")
	}
	if err := r.checksum(text); err != nil {
		return err
	}
	if err := json.Unmarshal(text, &r.header); err != nil {
		return r.fault(ErrCorrupt, "header: "+err.Error())
	}
	return nil
}

// nextFrame reads a block, or the footer and then returns io.EOF.
func (r *Reader) nextFrame() error {
	r.sound = r.offset
	tag, err := r.in.ReadByte()
	if err != nil {
		return r.cut(err, "no footer: it was never closed")
	}
	r.offset++
	switch tag {
	case tagBlock:
		return r.readBlock()
	case tagFooter:
		return r.readFooter()
	}
	return r.fault(ErrCorrupt, fmt.Sprintf("unknown part %#02x", tag))
}

func (r *Reader) readBlock() error {
	const cut = "cut inside a block"
	ops, err := r.uvarint()
	if err != nil {
		return r.cut(err, cut)
	}
	size, err := r.uvarint()
	if err != nil {
		return r.cut(err, cut)
	}
	if size > blockMax || ops == 0 || ops > size {
		return r.fault(ErrCorrupt, fmt.Sprintf("block of %d ops in %d bytes", ops, size))
	}
	var want [4]byte
	if err := r.full(want[:]); err != nil {
		return r.cut(err, cut)
	}
	if uint64(cap(r.payload)) < size {
		r.payload = make([]byte, size, max(size, blockBytes+causeMax+64))
	}
	r.payload = r.payload[:size]
	if err := r.full(r.payload); err != nil {
		return r.cut(err, cut)
	}
	if err := r.verify(r.payload, want); err != nil {
		return err
	}
	r.left, r.pos, r.kinds, r.prev = ops, 0, r.kinds[:0], Op{}
	return nil
}

func (r *Reader) readFooter() error {
	const cut = "cut inside the footer"
	ops, err := r.uvarint()
	if err != nil {
		return r.cut(err, cut)
	}
	var sum [4]byte
	if err := r.full(sum[:]); err != nil {
		return r.cut(err, cut)
	}
	switch {
	case ops != r.ops:
		return r.fault(ErrCorrupt, fmt.Sprintf("the footer counts %d ops", ops))
	case binary.LittleEndian.Uint32(sum[:]) != r.sum:
		return r.fault(ErrCorrupt, "the footer's checksum differs")
	}
	if _, err := r.in.ReadByte(); err != io.EOF {
		return r.fault(ErrCorrupt, "bytes after the footer")
	}
	r.sound = r.offset
	return io.EOF
}

// checksum reads a checksum and compares it with that of data.
func (r *Reader) checksum(data []byte) error {
	var want [4]byte
	if err := r.full(want[:]); err != nil {
		return r.cut(err, "cut inside the header")
	}
	return r.verify(data, want)
}

func (r *Reader) verify(data []byte, want [4]byte) error {
	if crc32.Checksum(data, castagnoli) != binary.LittleEndian.Uint32(want[:]) {
		return r.fault(ErrCorrupt, "checksum differs")
	}
	r.sum = crc32.Update(r.sum, castagnoli, want[:])
	return nil
}

// decode takes one Op from the block at hand.
func (r *Reader) decode(op *Op) error {
	id, ok := r.take()
	if !ok {
		return r.fault(ErrCorrupt, "a block ends inside an op")
	}
	if id >= uint64(len(r.kinds)) {
		if err := r.decodeKind(id); err != nil {
			return err
		}
	}
	k := &r.kinds[id]
	task, ok1 := r.take()
	planned, ok2 := r.take()
	sent, ok3 := r.take()
	end, ok4 := r.take()
	if !(ok1 && ok2 && ok3 && ok4) {
		return r.fault(ErrCorrupt, "a block ends inside an op")
	}
	if r.left == 1 && r.pos != len(r.payload) {
		return r.fault(ErrCorrupt, "a block holds more than its ops")
	}
	op.Task = r.prev.Task + uint64(unzigzag(task))
	op.Planned = r.prev.Planned + time.Duration(unzigzag(planned))
	op.Sent = op.Planned + time.Duration(unzigzag(sent))
	op.End = op.Sent + time.Duration(unzigzag(end))
	op.Outcome, op.Code, op.Cause = k.outcome, k.code, k.cause
	r.prev.Task, r.prev.Planned = op.Task, op.Planned
	return nil
}

func (r *Reader) decodeKind(id uint64) error {
	bad := func(what string) error { return r.fault(ErrCorrupt, what) }
	if id != uint64(len(r.kinds)) || r.pos >= len(r.payload) {
		return bad("an op of a kind that was not defined")
	}
	k := kind{outcome: Outcome(r.payload[r.pos])}
	r.pos++
	code, ok1 := r.take()
	size, ok2 := r.take()
	if !ok1 || !ok2 || code > 1<<16-1 || size > uint64(len(r.payload)-r.pos) {
		return bad("a kind that does not fit its block")
	}
	k.code = uint16(code)
	k.cause = string(r.payload[r.pos : r.pos+int(size)])
	r.pos += int(size)
	if err := k.check(); err != nil {
		return bad(err.Error())
	}
	r.kinds = append(r.kinds, k)
	return nil
}

// take takes a varint from the block at hand. The loop is open-coded because
// it is where a reader of millions of Ops spends its time.
func (r *Reader) take() (uint64, bool) {
	p, pos := r.payload, r.pos
	var v uint64
	for shift := uint(0); pos < len(p) && shift < 64; shift += 7 {
		b := p[pos]
		pos++
		if b < 0x80 {
			r.pos = pos
			return v | uint64(b)<<shift, shift < 63 || b <= 1
		}
		v |= uint64(b&0x7f) << shift
	}
	return 0, false
}

func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

func (r *Reader) uvarint() (uint64, error) {
	var v uint64
	for shift := uint(0); shift < 64; shift += 7 {
		b, err := r.in.ReadByte()
		if err != nil {
			return 0, err
		}
		r.offset++
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v, nil
		}
	}
	return 0, r.fault(ErrCorrupt, "a number that does not end")
}

func (r *Reader) full(b []byte) error {
	n, err := io.ReadFull(r.in, b)
	r.offset += int64(n)
	return err
}

// cut turns the end of the bytes into ErrTruncated and lets other errors through.
func (r *Reader) cut(err error, detail string) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return r.fault(ErrTruncated, detail)
	}
	if _, ok := errors.AsType[*FormatError](err); ok {
		return err
	}
	return fmt.Errorf("read %s after %d ops: %w", r.name, r.ops, err)
}

func (r *Reader) fault(kind error, detail string) error {
	return &FormatError{Name: r.name, Offset: r.sound, Ops: r.ops, Detail: detail, Err: kind}
}

package history

import (
	"errors"
	"fmt"
	"hash/crc32"
	"time"
)

// The layout of a History, version 1. Integers are varints unless said
// otherwise, checksums are CRC-32C and little-endian.
//
//	"\x93STHIST\n" version(1 byte)
//	length, Header as JSON, checksum(4)
//	blocks:  'B' ops, length, checksum(4), payload
//	footer:  'F' ops in all, checksum(4) over every checksum before it
//
// A block stands alone: deltas start from zero and the table of kinds is empty.
// A reader can so trust every whole block of a file that was cut. An Op in a
// payload is
//
//	kind [outcome(1), code, length of cause, cause]   in brackets: when kind is new in this block
//	task - task before, planned - planned before, sent - planned, end - sent   (zigzag)
//
// A kind is the triple (outcome, code, cause): a load sees a handful of them.
const (
	magic     = "\x93STHIST\n"
	version   = 1
	tagBlock  = 'B'
	tagFooter = 'F'

	blockBytes  = 32 << 10 // a block is written when its payload is this long
	blockMax    = 1 << 20  // no reader accepts a longer payload
	headerMax   = 64 << 10
	causeMax    = 4 << 10
	flushPeriod = time.Second
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// What can be wrong with a History; a FormatError wraps one of them.
var (
	// ErrForeign means that the file is no History, or one of a version that this reader does not know.
	ErrForeign = errors.New("not a History")
	// ErrTruncated means that the History was never closed or was cut; every Op before it is sound.
	ErrTruncated = errors.New("History is truncated")
	// ErrCorrupt means that bytes changed after they were written.
	ErrCorrupt = errors.New("History is corrupt")
)

// FormatError says what is wrong with a History, and where.
type FormatError struct {
	Name   string // the file's name, or "" when it was read from elsewhere
	Offset int64  // bytes from the start up to which the History is sound
	Ops    uint64 // Ops that were read before it
	Detail string
	Err    error // ErrForeign, ErrTruncated or ErrCorrupt
}

// Error names the file, the kind of damage and the offset.
func (e *FormatError) Error() string {
	name := e.Name
	if name == "" {
		name = "history"
	}
	return fmt.Sprintf("read %s: %v at byte %d after %d ops: %s", name, e.Err, e.Offset, e.Ops, e.Detail)
}

// Unwrap returns ErrForeign, ErrTruncated or ErrCorrupt.
func (e *FormatError) Unwrap() error { return e.Err }

// kind is what Ops share; see the layout.
type kind struct {
	outcome Outcome
	code    uint16
	cause   string
}

func (o *Op) kind() kind { return kind{o.Outcome, o.Code, o.Cause} }

// check refuses Ops that no reader would accept.
func (k kind) check() error {
	if k.outcome < Accepted || k.outcome > Unknown {
		return fmt.Errorf("malformed op: %v", k.outcome)
	}
	if len(k.cause) > causeMax {
		return fmt.Errorf("malformed op: cause of %d bytes, at most %d", len(k.cause), causeMax)
	}
	return nil
}

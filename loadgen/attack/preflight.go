package attack

import (
	"fmt"
	"math"
	"time"

	"seatrial/loadgen/profile"
)

// spareFiles are what a process needs beside its connections.
const spareFiles = 64

// preflight refuses a load that could need more connections than limit allows
// files: at the worst, when no answer comes, a request is open for the whole
// timeout. Dials that fail for want of files would look like the target refusing.
func preflight(p profile.Profile, timeout time.Duration, limit uint64) error {
	held := min(math.Ceil(p.Peak()*timeout.Seconds()), float64(p.Hits()))
	need := uint64(held) + spareFiles
	if need <= limit {
		return nil
	}
	return fmt.Errorf("preflight: %.0f requests/s with a timeout of %v can hold %d files open, ulimit -n allows %d: raise it, shorten the timeout, or ask to ignore it",
		p.Peak(), timeout, need, limit)
}

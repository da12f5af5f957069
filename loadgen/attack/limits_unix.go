//go:build unix

package attack

import "syscall"

// openFiles returns how many files this process may have open. Go has raised the
// soft limit to the hard one by then.
func openFiles() (uint64, bool) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, false
	}
	return uint64(limit.Cur), true
}

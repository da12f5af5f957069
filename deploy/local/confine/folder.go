//go:build linux

package confine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// defaultRoot must be on a real disk: JetStream's and Valkey's data live there.
const defaultRoot = "/var/tmp/seatrial"

// Root is the folder under which every testbed has a folder of its own:
// SEATRIAL_STATE, or /var/tmp/seatrial.
func Root() string {
	dir := os.Getenv("SEATRIAL_STATE")
	if dir == "" {
		return defaultRoot
	}
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir
}

// dirSuffix tells testbeds' folders from others: SEATRIAL_STATE may name a
// folder in which somebody else has things that no Sweep may touch.
const dirSuffix = ".testbed"

// Dir returns the folder of the testbed called name.
func Dir(name string) string { return filepath.Join(Root(), name+dirSuffix) }

// CgroupPrefix returns the prefix of every cgroup of the testbed called name; a
// dot and the pod's name follow it.
func CgroupPrefix(name string) string { return "seatrial-" + name }

// ErrTaken says that a testbed of that name is alive.
var ErrTaken = errors.New("a testbed of this name is already running")

// validName keeps names harmless in paths, patterns and cgroups.
var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$`)

func checkName(name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("testbed name %q: want at most 40 letters, digits, - and _", name)
	}
	return nil
}

// claimPatience outlasts a Sweep that looks at the folder at the same time.
const claimPatience = 500 * time.Millisecond

// claim makes the testbed's folder and locks it. The lock is on the folder
// itself, so there is never one without the other, and it ends with the
// process.
func claim(name string) (*os.File, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(claimPatience); ; time.Sleep(10 * time.Millisecond) {
		// It may come or go between the two looks that MkdirAll takes.
		if err := os.MkdirAll(Dir(name), 0o755); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) {
			return nil, fmt.Errorf("make the testbed's folder: %w", err)
		}
		lock, err := tryLock(name)
		switch {
		case err == nil:
			return lock, nil
		case time.Now().Before(deadline):
		case errors.Is(err, unix.EWOULDBLOCK):
			return nil, fmt.Errorf("%w: %s (in %s)", ErrTaken, name, Dir(name))
		default:
			return nil, fmt.Errorf("lock the testbed's folder: %w", err)
		}
	}
}

// tryLock locks the folder of the testbed called name, if it is there and
// nobody else has it.
func tryLock(name string) (*os.File, error) {
	lock, err := os.Open(Dir(name))
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, err
	}
	// Between opening and locking it may have been removed by another cleaner.
	locked, err1 := lock.Stat()
	there, err2 := os.Stat(Dir(name))
	if err := errors.Join(err1, err2); err != nil || !os.SameFile(locked, there) {
		lock.Close()
		return nil, fmt.Errorf("%s was removed: %w", Dir(name), fs.ErrNotExist)
	}
	return lock, nil
}

// reclaim cleans up after the testbed called name, unless there is nothing, or
// somebody alive whose it is. It says whether it did.
func reclaim(name string) bool {
	lock, err := tryLock(name)
	if err != nil {
		return false
	}
	defer lock.Close()
	clean(name)
	return true
}

// Sweep removes what testbeds left behind whose processes are all dead. It
// returns their names.
func Sweep() (swept []string) {
	dirs, _ := os.ReadDir(Root())
	for _, d := range dirs {
		name, ours := strings.CutSuffix(d.Name(), dirSuffix)
		if ours && d.IsDir() && checkName(name) == nil && reclaim(name) {
			swept = append(swept, name)
		}
	}
	return swept
}

// cleanPatience is how long the last processes may take to die, and the kernel
// to let go of their cgroups.
const cleanPatience = 10 * time.Second

// clean removes the cgroups and then the folder of the testbed called name,
// whose processes must be dead or dying. While there is anything to remove
// there is a folder, so a clean that is cut short is finished by the next Sweep.
func clean(name string) {
	deadline := time.Now().Add(cleanPatience)
	for removeCgroups(CgroupPrefix(name)) > 0 {
		if time.Now().After(deadline) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	for os.RemoveAll(Dir(name)) != nil && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
	}
	if Root() == defaultRoot {
		_ = os.Remove(defaultRoot) // only when it is empty
	}
}

// removeCgroups removes every cgroup with the prefix in every hierarchy
// (v1 and v2), with those inside of it, and returns how many are still there.
func removeCgroups(prefix string) (left int) {
	for _, pattern := range []string{"/sys/fs/cgroup/*/", "/sys/fs/cgroup/"} {
		dirs, _ := filepath.Glob(pattern + prefix + ".*")
		for _, dir := range dirs {
			left += removeCgroup(dir)
		}
	}
	return left
}

// removeCgroup removes a cgroup from the inside out: one that holds others
// cannot be removed, and its files need not be.
func removeCgroup(dir string) (left int) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			left += removeCgroup(filepath.Join(dir, e.Name()))
		}
	}
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
		left++
	}
	return left
}

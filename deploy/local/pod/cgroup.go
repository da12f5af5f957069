//go:build linux

package pod

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroup is a pod's group in each hierarchy that limits or accounts
// something: one folder on cgroup v2, one a controller on v1.
type cgroup struct {
	dirs []string
	v2   bool
}

// cfsPeriod is the accounting period of CPU limits, Kubernetes' default.
const cfsPeriod = 100_000 // microseconds

// newCgroup makes the pod's cgroup with a limit of cpus cores and memory bytes
// (0: no limit).
func newCgroup(name string, cpus float64, memory uint64) (*cgroup, error) {
	cg := &cgroup{}
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		cg.v2 = true
		cg.dirs = []string{filepath.Join("/sys/fs/cgroup", name)}
	} else {
		for _, controller := range []string{"cpu", "cpuacct", "memory"} {
			mount := filepath.Join("/sys/fs/cgroup", controller)
			if _, err := os.Stat(mount); err == nil {
				cg.dirs = append(cg.dirs, filepath.Join(mount, name))
			}
		}
	}
	for _, dir := range cg.dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, fmt.Errorf("make cgroup: %w", err)
		}
	}
	return cg, cg.limit(cpus, memory)
}

func (cg *cgroup) limit(cpus float64, memory uint64) error {
	settings := map[string]string{}
	if cpus > 0 {
		quota := strconv.Itoa(int(cpus * cfsPeriod))
		settings["cpu.max"] = quota + " " + strconv.Itoa(cfsPeriod)
		settings["cpu.cfs_quota_us"] = quota
	}
	if memory > 0 {
		settings["memory.max"] = strconv.FormatUint(memory, 10)
		settings["memory.limit_in_bytes"] = strconv.FormatUint(memory, 10)
	}
	for _, dir := range cg.dirs {
		for file, value := range settings {
			path := filepath.Join(dir, file)
			if _, err := os.Stat(path); err != nil {
				continue // another hierarchy's, or the other version's, file
			}
			if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
				return fmt.Errorf("limit cgroup: %w", err)
			}
		}
	}
	return nil
}

// enterThread moves the calling OS thread, and whatever it forks, into the
// cgroup. Only v1 lets a single thread move; v2 needs clone's CLONE_INTO_CGROUP.
func (cg *cgroup) enterThread() error {
	if cg.v2 {
		return nil
	}
	tid := []byte(strconv.Itoa(unix.Gettid()))
	for _, dir := range cg.dirs {
		if err := os.WriteFile(filepath.Join(dir, "tasks"), tid, 0o644); err != nil {
			return fmt.Errorf("enter cgroup %s: %w", dir, err)
		}
	}
	return nil
}

// pids lists the processes in the cgroup, as this PID namespace numbers them,
// but never this one: a thread of ours that has just forked may still be there.
func (cg *cgroup) pids() []int {
	if len(cg.dirs) == 0 {
		return nil
	}
	data, _ := os.ReadFile(filepath.Join(cg.dirs[0], "cgroup.procs"))
	var pids []int
	for _, line := range strings.Fields(string(data)) {
		if pid, err := strconv.Atoi(line); err == nil && pid > 0 && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// remove deletes the cgroup; it must be empty.
func (cg *cgroup) remove() error {
	var errs []error
	for _, dir := range cg.dirs {
		if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("remove cgroup %s: %w", dir, err))
		}
	}
	return errors.Join(errs...)
}

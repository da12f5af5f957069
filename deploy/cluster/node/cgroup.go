//go:build linux

package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const cgroups = "/sys/fs/cgroup"

// hierarchies returns, for this process, each version 1 hierarchy's controllers
// ("cpu", "cpu,cpuacct", "name=systemd") with the cgroup that it is in.
func hierarchies() (map[string]string, error) {
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, fmt.Errorf("find this process's cgroups: %w", err)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if fields := strings.SplitN(strings.TrimSpace(line), ":", 3); len(fields) == 3 {
			all[fields[1]] = fields[2] // version 2 has the name ""
		}
	}
	return all, nil
}

// folder is where a hierarchy is mounted.
func folder(controllers string) string {
	if controllers == "" {
		if _, err := os.Stat(filepath.Join(cgroups, "cgroup.controllers")); err == nil {
			return cgroups
		}
		return filepath.Join(cgroups, "unified")
	}
	return filepath.Join(cgroups, strings.TrimPrefix(controllers, "name="))
}

// joinCgroup moves this process into a cgroup of that name in every hierarchy,
// from where a child inherits it, and returns how to leave it again.
func joinCgroup(name string) (leave func(), err error) {
	all, err := hierarchies()
	if err != nil {
		return nil, err
	}
	leave = func() {
		for controllers, path := range all {
			_ = enter(filepath.Join(folder(controllers), path))
		}
	}
	for controllers := range all {
		dir := filepath.Join(folder(controllers), name)
		if _, err := os.Stat(folder(controllers)); err != nil {
			continue // known to the kernel, mounted nowhere
		}
		if err := makeCgroup(dir); err != nil {
			leave()
			return nil, err
		}
		if err := enter(dir); err != nil {
			leave()
			return nil, err
		}
	}
	return leave, nil
}

func makeCgroup(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make the node's cgroup: %w", err)
	}
	// A new cpuset is empty, and nothing may run in it.
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		above, err := os.ReadFile(filepath.Join(filepath.Dir(dir), file))
		if err != nil || filepath.Base(filepath.Dir(dir)) != "cpuset" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, file), above, 0o644); err != nil {
			return fmt.Errorf("give the node its %s: %w", file, err)
		}
	}
	return nil
}

func enter(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0o644); err != nil {
		return fmt.Errorf("enter the cgroup %s: %w", dir, err)
	}
	return nil
}

// mountCgroups mounts what the machine has, as the cgroup namespace shows it:
// the node's own cgroup is the root of each hierarchy.
func mountCgroups(dir string) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	if _, v1 := all["memory"]; !v1 {
		return unix.Mount("cgroup2", dir, "cgroup2", 0, "")
	}
	for controllers := range all {
		kind, options, name := "cgroup", controllers, strings.TrimPrefix(controllers, "name=")
		switch {
		case controllers == "":
			kind, name = "cgroup2", "unified"
		case strings.HasPrefix(controllers, "name="):
			options = "none," + controllers
		}
		target := filepath.Join(dir, name)
		if err := os.MkdirAll(target, 0o755); err != nil {
			return fmt.Errorf("make the mount point of the cgroups %q: %w", controllers, err)
		}
		if err := unix.Mount(kind, target, kind, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, options); err != nil {
			return fmt.Errorf("mount the cgroups %q: %w", controllers, err)
		}
	}
	return nil
}

//go:build linux

package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// volumeCount is how many folders the node has for persistent volumes, as
// /var/local/volumes/volume-0 and so on.
const volumeCount = 10

// mountRoot makes the node's root: the Debian root with a layer of its own
// above, so that nothing is written to what other nodes are made from.
func (c Config) mountRoot(root string) error {
	if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	upper, work := filepath.Join(c.State, "upper"), filepath.Join(c.State, "work")
	data, volumes := filepath.Join(c.State, "var-lib"), filepath.Join(c.State, "volumes")
	dirs := []string{root, upper, work, data}
	for i := range volumeCount {
		dirs = append(dirs, filepath.Join(volumes, fmt.Sprintf("volume-%d", i)))
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make the node's folder: %w", err)
		}
	}
	layers := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", c.Root, upper, work)
	if err := unix.Mount("overlay", root, "overlay", 0, layers); err != nil {
		return fmt.Errorf("mount the node's root (%s): %w", layers, err)
	}
	for _, m := range c.mounts(data, volumes) {
		if err := m.mount(root); err != nil {
			return err
		}
	}
	if err := c.showTunables(root); err != nil {
		return err
	}
	return mountCgroups(filepath.Join(root, "sys/fs/cgroup"))
}

// tunables are what kubelet wants the kernel to be set to, from its
// setupKernelTunables. They belong to the whole machine.
var tunables = map[string]string{
	"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
	"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
}

// showTunables shows kubelet what it wants to see, and leaves the machine as it is.
func (c Config) showTunables(root string) error {
	for name, value := range tunables {
		file := filepath.Join(c.State, "tunables", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return fmt.Errorf("make the folder of tunables: %w", err)
		}
		if err := os.WriteFile(file, []byte(value+"\n"), 0o444); err != nil {
			return fmt.Errorf("write a tunable: %w", err)
		}
		target := filepath.Join(root, "proc/sys", name)
		if _, err := os.Stat(target); err != nil {
			continue
		}
		if err := unix.Mount(file, target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("cover /proc/sys/%s: %w", name, err)
		}
	}
	return nil
}

// mountpoint is one mount, at a path in the node's root.
type mountpoint struct {
	source, path, kind string
	flags              uintptr
	data               string
}

func (c Config) mounts(data, volumes string) []mountpoint {
	const quiet = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	return []mountpoint{
		{"proc", "/proc", "proc", quiet, ""},
		// These two belong to the whole machine.
		{"/proc/sys/kernel", "/proc/sys/kernel", "", unix.MS_BIND | unix.MS_RDONLY, ""},
		{"/proc/sys/vm", "/proc/sys/vm", "", unix.MS_BIND | unix.MS_RDONLY, ""},
		{"sysfs", "/sys", "sysfs", quiet, ""},
		{"cgroups", "/sys/fs/cgroup", "tmpfs", quiet, "mode=755,size=1m"},
		{"/dev", "/dev", "", unix.MS_BIND, ""},
		{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"},
		{"shm", "/dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777,size=64m"},
		{"mqueue", "/dev/mqueue", "mqueue", quiet, ""},
		{"run", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=755,size=512m"},
		{"tmp", "/tmp", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777,size=512m"},
		// containerd's layers cannot stand on the node's own.
		{data, "/var/lib", "", unix.MS_BIND, ""},
		// On the disk a write waits for the others' fsyncs, at times for ten seconds: no lease outlives that. The data live as long
		// as the node anyway.
		{"etcd", "/var/lib/etcd", "tmpfs", quiet, "mode=700,size=1g"},
		{volumes, "/var/local/volumes", "", unix.MS_BIND, ""},
		{c.Bin, binDir, "", unix.MS_BIND | unix.MS_RDONLY, ""},
		{c.Images, imageDir, "", unix.MS_BIND | unix.MS_RDONLY, ""},
	}
}

func (m mountpoint) mount(root string) error {
	target := filepath.Join(root, m.path)
	source := m.source
	if m.source == m.path && strings.HasPrefix(m.path, "/proc/") {
		source = target // of the node's own /proc
	} else if err := os.MkdirAll(target, 0o755); err != nil && !strings.HasPrefix(m.path, "/dev/") {
		return fmt.Errorf("make the mount point %s: %w", m.path, err)
	}
	if _, err := os.Stat(target); err != nil && strings.HasPrefix(m.path, "/dev/") {
		return nil // this kernel has no such thing
	}
	if err := unix.Mount(source, target, m.kind, m.flags, m.data); err != nil {
		return fmt.Errorf("mount %s: %w", m.path, err)
	}
	if m.flags&unix.MS_BIND != 0 && m.flags&unix.MS_RDONLY != 0 {
		// A bind mount takes its other flags only when mounted again.
		if err := unix.Mount("", target, "", unix.MS_REMOUNT|m.flags, ""); err != nil {
			return fmt.Errorf("make %s read-only: %w", m.path, err)
		}
	}
	return nil
}

// enterRoot makes root the root of this process and of all that it starts.
func enterRoot(root string) error {
	if err := unix.Sethostname([]byte(Name)); err != nil {
		return fmt.Errorf("name the node: %w", err)
	}
	if err := os.Chdir(root); err != nil {
		return fmt.Errorf("enter the node's root: %w", err)
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("make %s the root: %w", root, err)
	}
	// The old root is now mounted above the new one.
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the machine's root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	// Volumes that a container mounts must be seen by the others.
	if err := unix.Mount("", "/", "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("share mounts: %w", err)
	}
	return nil
}

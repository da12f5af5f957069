//go:build linux

package vnet

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

const (
	tunPath = "/dev/net/tun"
	// device is what the pod calls its network device, as in a container.
	device = "eth0"
	// queueLength of a device, in packets: bursts wait here while the switch
	// is busy. The usual 500 would lose some, and loss must be asked for.
	queueLength = 8192
)

// discard runs fn on an OS thread that does nothing else and ends with it, so
// that fn may change what belongs to a thread: its namespaces, its cgroup.
func discard(fn func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		if unix.Gettid() == unix.Getpid() {
			// The main thread cannot end. While it is taken, the next
			// goroutine gets another one.
			discard(fn)
			runtime.UnlockOSThread()
			return
		}
		fn()
	}()
	<-done
}

// namespace is a network namespace without a name.
type namespace struct{ file *os.File }

// newNamespace makes a namespace with loopback up and a TUN device of the
// given address (both sides in host order), and returns the other end of the
// device.
func newNamespace(addr, mask uint32) (ns namespace, tun int, err error) {
	tun = -1
	discard(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("make a network namespace: %w", err)
			return
		}
		if ns.file, err = os.Open("/proc/thread-self/ns/net"); err != nil {
			return
		}
		quiet()
		plain()
		if tun, err = openTUN(); err != nil {
			return
		}
		err = configure(addr, mask)
	})
	if err != nil {
		if tun >= 0 {
			unix.Close(tun)
		}
		ns.close()
	}
	return ns, tun, err
}

func (ns namespace) close() {
	if ns.file != nil {
		ns.file.Close()
	}
}

// enter takes the calling thread, which should not be needed afterwards, into
// the namespace.
func (ns namespace) enter() error {
	if err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network namespace: %w", err)
	}
	return nil
}

// quiet turns IPv6 off, which would multicast unasked. Kernels without IPv6
// have no such setting, and nothing to turn off.
func quiet() {
	for _, who := range []string{"all", "default"} {
		os.WriteFile("/proc/sys/net/ipv6/conf/"+who+"/disable_ipv6", []byte("1"), 0)
	}
}

// plain makes TCP behave as on most machines, whatever this one's taste: with
// BBR, say, a loss would hardly slow anything. A kernel without CUBIC keeps
// what it has.
func plain() {
	os.WriteFile("/proc/sys/net/ipv4/tcp_congestion_control", []byte("cubic"), 0)
}

// openTUN makes the device in the thread's namespace. The device goes when the
// file is closed.
func openTUN() (int, error) {
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", tunPath, err)
	}
	if err := setUpTUN(fd); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func setUpTUN(fd int) error {
	req, err := unix.NewIfreq(device)
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return fmt.Errorf("make TUN device: %w", err)
	}
	// From now on the kernel leaves checksums and segmentation to whoever
	// reads the file.
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, unix.TUN_F_CSUM|unix.TUN_F_TSO4); err != nil {
		return fmt.Errorf("offload on TUN device: %w", err)
	}
	return nil
}

// configure gives the devices of the thread's namespace what they need.
func configure(addr, mask uint32) error {
	sock, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(sock)
	ip, netmask := uintToAddr(addr).As4(), uintToAddr(mask).As4()
	return errors.Join(
		ifreq(sock, "lo", unix.SIOCSIFFLAGS, func(r *unix.Ifreq) { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING) }),
		ifreq(sock, device, unix.SIOCSIFMTU, func(r *unix.Ifreq) { r.SetUint32(MTU) }),
		ifreq(sock, device, unix.SIOCSIFTXQLEN, func(r *unix.Ifreq) { r.SetUint32(queueLength) }),
		ifreq(sock, device, unix.SIOCSIFADDR, func(r *unix.Ifreq) { r.SetInet4Addr(ip[:]) }),
		ifreq(sock, device, unix.SIOCSIFNETMASK, func(r *unix.Ifreq) { r.SetInet4Addr(netmask[:]) }),
		ifreq(sock, device, unix.SIOCSIFFLAGS, func(r *unix.Ifreq) { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING) }),
	)
}

// ifreq makes one ioctl on a device.
func ifreq(sock int, name string, request uint, set func(*unix.Ifreq)) error {
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	set(req)
	if err := unix.IoctlIfreq(sock, request, req); err != nil {
		return fmt.Errorf("configure device %s (ioctl %#x): %w", name, request, err)
	}
	return nil
}

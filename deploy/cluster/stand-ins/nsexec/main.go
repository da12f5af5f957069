//go:build linux

// Command nsexec stands in for Chaos Mesh's nsexec: it runs a program in other
// namespaces.
//
//	nsexec [-l] [-p FILE] [-n FILE] [-m FILE] [-i FILE] -- PROGRAM [ARGUMENT...]
//
// FILE is a namespace as /proc/PID/ns has it: of processes, network, mounts, IPC.
// With -l the program is this file system's own; together with -m that would need
// a library inside the program, and is refused.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// kinds of namespaces, by the option that names one.
var kinds = map[string]int{"-p": unix.CLONE_NEWPID, "-n": unix.CLONE_NEWNET, "-i": unix.CLONE_NEWIPC, "-m": unix.CLONE_NEWNS}

// order in which namespaces are entered.
var order = []int{unix.CLONE_NEWPID, unix.CLONE_NEWNET, unix.CLONE_NEWIPC, unix.CLONE_NEWNS}

func main() {
	runtime.LockOSThread() // namespaces belong to threads
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "nsexec: "+err.Error())
	}
	os.Exit(code)
}

// parse splits a command line into namespaces, by kind, and the program.
func parse(args []string) (files map[int]string, argv []string, err error) {
	files = map[int]string{}
	local := false
	for len(args) > 0 {
		switch kind, known := kinds[args[0]]; {
		case args[0] == "--":
			if _, mounts := files[unix.CLONE_NEWNS]; mounts && local {
				return nil, nil, errors.New("-l together with -m is not supported by this stand-in")
			}
			if len(args) < 2 {
				return nil, nil, errors.New("no program is named after --")
			}
			return files, args[1:], nil
		case args[0] == "-l":
			local, args = true, args[1:]
		case known && len(args) > 1:
			files[kind], args = args[1], args[2:]
		default:
			return nil, nil, fmt.Errorf("argument %q is not known, or its FILE is missing", args[0])
		}
	}
	return nil, nil, errors.New("no -- and no program")
}

func run(args []string) (int, error) {
	files, argv, err := parse(args)
	if err != nil {
		return 2, err
	}
	if os.Getenv(childName) != "" {
		if err := bind(); err != nil {
			return 1, err
		}
		delete(files, unix.CLONE_NEWPID) // it is in it
	}
	if err := enter(files); err != nil {
		return 1, err
	}
	if files[unix.CLONE_NEWPID] != "" {
		return watch(args)
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return 1, fmt.Errorf("start %s: %w", argv[0], err)
	}
	return 1, fmt.Errorf("start %s: %w", argv[0], unix.Exec(path, argv, os.Environ()))
}

// enter joins the namespaces, or only that of processes if it is among them: its
// child joins the others. All files are opened before the first is entered.
func enter(files map[int]string) error {
	if file, is := files[unix.CLONE_NEWPID]; is {
		files = map[int]string{unix.CLONE_NEWPID: file}
	}
	open := map[int]*os.File{}
	for kind, path := range files {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		open[kind] = f
	}
	if open[unix.CLONE_NEWNS] != nil {
		// A thread that shares its working directory may not change its mounts.
		if err := unix.Unshare(unix.CLONE_FS); err != nil {
			return fmt.Errorf("part from the other threads: %w", err)
		}
	}
	for _, kind := range order {
		if f := open[kind]; f != nil {
			if err := unix.Setns(int(f.Fd()), kind); err != nil {
				return fmt.Errorf("enter %s: %w", f.Name(), err)
			}
		}
	}
	return nil
}

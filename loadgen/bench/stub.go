package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// stubVariable makes a process that imports this package serve the stub instead
// of doing its own work: the stub needs a process of its own, so that its garbage
// collector is not the load's, and one binary must be enough.
const stubVariable = "SEATRIAL_BENCH_STUB"

func init() {
	if os.Getenv(stubVariable) != "" {
		if err := serveStub(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// stub is the child process.
type stub struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	url   string
}

func startStub() (*stub, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("start the stub: %w", err)
	}
	s := &stub{cmd: exec.Command(self)}
	s.cmd.Env = append(os.Environ(), stubVariable+"=1")
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start the stub: %w", err)
	}
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("start the stub: %w", err)
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the stub: %w", err)
	}
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.close()
		return nil, fmt.Errorf("start the stub: it said no address: %w", err)
	}
	s.url = "http://" + strings.TrimSpace(addr) + "/task"
	return s, nil
}

// close ends the stub: it lives as long as its standard input, and so never
// outlives this process, however this process ends.
func (s *stub) close() {
	_ = s.stdin.Close()
	_ = s.cmd.Wait()
}

// serveStub answers every request on a port of its own with 202, as cheaply as it
// can: what is measured is the load generator. It ends when alive does.
func serveStub(alive io.Reader, out io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("stub: %w", err)
	}
	if _, err := fmt.Fprintln(out, l.Addr()); err != nil {
		return fmt.Errorf("stub: say the address: %w", err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, alive)
		_ = l.Close()
	}()
	for {
		c, err := l.Accept()
		if err != nil {
			return nil
		}
		go answer(c)
	}
}

const stubAnswer = "HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nTask-Outcome: accepted\r\n" +
	"Content-Length: 33\r\n\r\n" + `{"id":"b-0","status":"accepted"} `

// answer reads requests with a Content-Length and answers each.
func answer(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		length := 0
		for {
			line, err := r.ReadSlice('\n')
			if err != nil {
				return
			}
			if len(line) <= 2 {
				break
			}
			if name, value, _ := bytes.Cut(line, []byte(":")); bytes.EqualFold(name, []byte("Content-Length")) {
				length, _ = strconv.Atoi(string(bytes.TrimSpace(value)))
			}
		}
		if _, err := r.Discard(length); err != nil {
			return
		}
		if _, err := io.WriteString(c, stubAnswer); err != nil {
			return
		}
	}
}

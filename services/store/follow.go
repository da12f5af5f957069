package store

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/valkey-io/valkey-go"
)

const (
	askEvery = 500 * time.Millisecond
	askWait  = time.Second
)

// Run follows the primary until ctx ends, and then closes all connections.
//
// The library's own Sentinel client asks one sentinel and believes it, so that
// a client beside an isolated primary and its sentinel stays there although it
// reaches the majority as well. Here all sentinels are asked, and the one with
// the latest configuration is believed.
func (s *Store) Run(ctx context.Context) {
	defer s.close()
	for {
		s.follow(ctx)
		select {
		case <-ctx.Done():
			return
		case <-s.suspect:
			// Several writers may suspect the same failure: ask once for all.
			if !sleep(ctx, 50*time.Millisecond) {
				return
			}
		case <-time.After(askEvery):
		}
	}
}

func (s *Store) follow(ctx context.Context) {
	current := ""
	if p := s.primary.Load(); p != nil {
		current = p.addr
	}
	addr, epoch := choose(s.ask(ctx), current, s.epoch)
	if addr == "" {
		return
	}
	s.epoch = epoch
	if addr == current {
		return
	}
	client, err := dial(addr, s.pod, s.config.Password)
	if err != nil {
		s.log.Warn("primary cannot be reached", "addr", addr, "error", err)
		return
	}
	s.log.Info("follow primary", "addr", addr, "before", current)
	if old := s.primary.Swap(&primary{addr, client}); old != nil {
		// Whoever still waits for the old one is told so at once.
		go old.client.Close()
	}
}

// ask asks all sentinels at the same time.
func (s *Store) ask(ctx context.Context) []answer {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	answers := make([]answer, len(s.sentinels))
	var wg sync.WaitGroup
	for i, sen := range s.sentinels {
		wg.Go(func() {
			a, err := sen.primary(ctx)
			if err != nil {
				s.log.Debug("ask sentinel", "addr", sen.addr, "error", err)
			}
			answers[i] = a
		})
	}
	wg.Wait()
	return answers
}

func (s *Store) close() {
	for _, sen := range s.sentinels {
		sen.close()
	}
	if p := s.primary.Load(); p != nil {
		p.client.Close()
	}
	s.raw.close()
}

// answer is what one sentinel says; addr is "" if it says nothing.
type answer struct {
	addr  string
	epoch int64 // of the failover that made it primary
}

// choose picks the primary that most sentinels with the latest configuration
// name, the current one if there are as many for it, and "" if nobody knows.
// A configuration older than the one seen before is what an isolated sentinel
// has: it is believed only from a majority, which has then lost its memory.
func choose(answers []answer, current string, seen int64) (string, int64) {
	latest, votes := int64(-1), map[string]int{}
	for _, a := range answers {
		if a.addr == "" || a.epoch < latest {
			continue
		}
		if a.epoch > latest {
			latest = a.epoch
			clear(votes)
		}
		votes[a.addr]++
	}
	best := ""
	for addr, n := range votes {
		if best == "" || n > votes[best] || n == votes[best] && (addr == current || best != current && addr < best) {
			best = addr
		}
	}
	if latest < seen && votes[best] <= len(answers)/2 {
		return "", seen
	}
	return best, latest
}

// sentinel is one of them, used by one goroutine at a time.
type sentinel struct {
	addr, password, master string
	client                 valkey.Client
}

func (s *sentinel) primary(ctx context.Context) (answer, error) {
	if s.client == nil {
		c, err := dial(s.addr, "", s.password)
		if err != nil {
			return answer{}, err
		}
		s.client = c
	}
	b := s.client.B()
	out := s.client.DoMulti(ctx,
		b.SentinelGetMasterAddrByName().Master(s.master).Build(),
		b.Arbitrary("SENTINEL", "MASTER").Args(s.master).Build())
	host, err := out[0].AsStrSlice()
	if err != nil {
		s.close() // it may be a connection that a partition left behind
		return answer{}, fmt.Errorf("ask for the primary: %w", err)
	}
	facts, err := out[1].AsStrMap()
	if err != nil || len(host) != 2 {
		s.close()
		return answer{}, fmt.Errorf("ask for the configuration: %w", err)
	}
	epoch, err := strconv.ParseInt(facts["config-epoch"], 10, 64)
	if err != nil {
		return answer{}, fmt.Errorf("read config-epoch: %w", err)
	}
	return answer{net.JoinHostPort(host[0], host[1]), epoch}, nil
}

func (s *sentinel) close() {
	if s.client != nil {
		s.client.Close()
		s.client = nil
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

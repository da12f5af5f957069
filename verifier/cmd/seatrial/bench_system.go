//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"seatrial/deploy/local"
)

const (
	publishers  = 64              // clients that each wait for their answer before they send again
	benchRounds = 5               // pairs of runs; the ratio is the median of theirs
	benchRound  = 3 * time.Second // of one run
)

// compareWithJetStream fills the queue in turn through the API and straight
// through JetStream, into the same stream, with the same number of clients and
// the same payloads; the workers do what arrives in both. It returns the
// medians of both rates and of the ratios of the pairs.
func compareWithJetStream(ctx context.Context, bed *local.Testbed, out io.Writer) (end, raw, ratio float64, err error) {
	doors := bed.Endpoints()
	conn, err := nats.Connect(strings.Join(doors.NATS, ","), nats.SetCustomDialer(dialer{bed}))
	if err != nil {
		return 0, 0, 0, fmt.Errorf("connect to NATS: %w", err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return 0, 0, 0, err
	}
	payload, err := json.Marshal(map[string]string{"order": strings.Repeat("x", payloadBytes)})
	if err != nil {
		return 0, 0, 0, err
	}
	client := &http.Client{Transport: &http.Transport{DialContext: bed.Dial, MaxIdleConnsPerHost: publishers}, Timeout: 10 * time.Second}
	ways := []func(context.Context, string) error{
		func(ctx context.Context, id string) error { return postTask(ctx, client, doors.API, id, payload) },
		func(ctx context.Context, id string) error { return publishTask(ctx, js, id, payload) },
	}
	var ends, raws, ratios []float64
	for round := range benchRounds + 1 {
		var rate [2]float64
		for i := range ways {
			way := (i + round) % 2 // each goes first in turn
			if rate[way], err = saturate(ctx, fmt.Sprintf("bench-%d-%d", round, way), ways[way]); err != nil {
				return 0, 0, 0, err
			}
			if err := drained(ctx, client, doors.API); err != nil {
				return 0, 0, 0, err
			}
		}
		if round == 0 {
			continue // connections and caches
		}
		fmt.Fprintf(out, "  end to end %.0f/s, JetStream alone %.0f/s\n", rate[0], rate[1])
		ends, raws, ratios = append(ends, rate[0]), append(raws, rate[1]), append(ratios, rate[0]/rate[1])
	}
	return median(ends), median(raws), median(ratios), nil
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// dialer opens NATS' connections inside the virtual network.
type dialer struct{ bed *local.Testbed }

func (d dialer) Dial(network, address string) (net.Conn, error) {
	return d.bed.Dial(context.Background(), network, address)
}

// saturate calls send from all publishers for one round and returns how many
// calls a second succeeded. One that fails ends the round.
func saturate(ctx context.Context, prefix string, send func(ctx context.Context, id string) error) (perSecond float64, err error) {
	var sent atomic.Int64
	begun := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for p := range publishers {
		group.Go(func() error {
			for n := 0; time.Since(begun) < benchRound; n++ {
				if err := send(ctx, fmt.Sprintf("%s-%d-%d", prefix, p, n)); err != nil {
					return err
				}
				sent.Add(1)
			}
			return nil
		})
	}
	err = group.Wait()
	return float64(sent.Load()) / time.Since(begun).Seconds(), err
}

func postTask(ctx context.Context, client *http.Client, api, id string, payload []byte) error {
	body := fmt.Appendf(nil, `{"id":%q,"payload":%s}`, id, payload)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, api+"/task", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusAccepted {
		err = fmt.Errorf("POST /task: %s: %s", res.Status, answer)
	}
	return err
}

func publishTask(ctx context.Context, js jetstream.JetStream, id string, payload []byte) error {
	_, err := js.PublishMsg(ctx, &nats.Msg{
		Subject: "task." + id, Data: payload, Header: nats.Header{nats.MsgIdHdr: []string{id}},
	})
	return err
}

// drained waits until the workers have done all of a round, so that rounds do
// not pay for each other.
func drained(ctx context.Context, client *http.Client, api string) error {
	for range 300 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, api+"/stats", nil)
		if err != nil {
			return err
		}
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		var stats struct {
			Backlog int `json:"queue_backlog_length"`
		}
		err = json.NewDecoder(res.Body).Decode(&stats)
		res.Body.Close()
		if err == nil && stats.Backlog == 0 {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("the queue did not drain within 30 s")
}

// Package exporter turns what one nats-server says about itself over HTTP into
// metrics: its connections, its routes to other servers, and its view of the
// JetStream cluster.
//
// It must not know the services. What a server says about streams that it does
// not lead is stale: combine those metrics with nats_jetstream_stream_leader.
package exporter

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Config is where to read and where to serve.
type Config struct {
	Listen     string `env:"EXPORTER_LISTEN" default:":7777" what:"address of the metrics"`
	Monitoring string `env:"NATS_MONITORING" default:"http://127.0.0.1:8222" what:"HTTP monitoring of the nats-server"`
}

// Problems implements config.Problems.
func (c Config) Problems() []string {
	u, err := url.Parse(c.Monitoring)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return []string{fmt.Sprintf("SEATRIAL_NATS_MONITORING: want http://host:port, got %q", c.Monitoring)}
	}
	return nil
}

// readWait is how long the server has to answer, at each scrape.
const readWait = 2 * time.Second

// Exporter is a prometheus.Collector that reads the server at each scrape.
type Exporter struct {
	base   string
	client http.Client
	log    *slog.Logger
}

// New returns an Exporter of the server whose monitoring is at base.
func New(base string, log *slog.Logger) *Exporter {
	return &Exporter{base: base, log: log, client: http.Client{Timeout: readWait}}
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	up          = desc("nats_server_up", "1 if the server's monitoring answered.")
	start       = desc("nats_server_start_time_seconds", "When the server was started, Unix time.")
	info        = desc("nats_server_info", "1, labelled by what is running.", "server_name", "version")
	connections = desc("nats_server_connections", "Clients that are connected.")
	slow        = desc("nats_server_slow_consumers_total", "Clients that did not read fast enough.")
	memory      = desc("nats_server_memory_bytes", "Resident memory.")
	routes      = desc("nats_server_routes", "Connections to other servers; several go to the same one.")
	peers       = desc("nats_server_route_peers", "Other servers that this one is connected to.")
	peer        = desc("nats_server_route_peer", "1 for each other server that this one is connected to.", "peer")
	metaLeader  = desc("nats_jetstream_meta_leader", "1, labelled by who leads the cluster in this server's view; leader is empty if nobody does.", "leader")
	isMeta      = desc("nats_jetstream_is_meta_leader", "1 if this server leads the cluster.")
	size        = desc("nats_jetstream_cluster_size", "Servers that belong to the JetStream cluster.")
	quorum      = desc("nats_jetstream_quorum", "Servers that must agree.")
	current     = desc("nats_jetstream_peers_current", "Servers that are up to date with the cluster's leader in this server's view, itself included.")
	messages    = desc("nats_jetstream_stream_messages", "Messages in a stream, in this server's copy.", "stream")
	bytes       = desc("nats_jetstream_stream_bytes", "Size of a stream, in this server's copy.", "stream")
	leads       = desc("nats_jetstream_stream_leader", "1 if this server leads the stream.", "stream")
	replicas    = desc("nats_jetstream_stream_replicas_current", "Servers that hold all of the stream in this server's view, itself included.", "stream")
	pending     = desc("nats_jetstream_consumer_pending", "Messages not yet delivered, in this server's copy.", "stream", "consumer")
	unacked     = desc("nats_jetstream_consumer_ack_pending", "Messages delivered and not acknowledged, in this server's copy.", "stream", "consumer")
	consumerAt  = desc("nats_jetstream_consumer_leader", "1 if this server leads the consumer.", "stream", "consumer")
)

// Describe implements prometheus.Collector.
func (e *Exporter) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{up, start, info, connections, slow, memory, routes, peers, peer, metaLeader, isMeta,
		size, quorum, current, messages, bytes, leads, replicas, pending, unacked, consumerAt} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (e *Exporter) Collect(ch chan<- prometheus.Metric) {
	var (
		v     varz
		r     routez
		j     jsz
		fails [3]error
		wg    sync.WaitGroup
	)
	ctx, cancel := context.WithTimeout(context.Background(), readWait)
	defer cancel()
	wg.Go(func() { fails[0] = e.read(ctx, "/varz", &v) })
	wg.Go(func() { fails[1] = e.read(ctx, "/routez", &r) })
	wg.Go(func() { fails[2] = e.read(ctx, "/jsz?streams=true&consumers=true", &j) })
	wg.Wait()
	for _, err := range fails {
		if err != nil {
			e.log.Warn("server not read", "error", err)
		}
	}
	gauge(ch, up, truth(fails[0] == nil))
	if fails[0] == nil {
		v.collect(ch)
	}
	if fails[1] == nil {
		r.collect(ch)
	}
	if fails[2] == nil {
		j.collect(ch, v.Name)
	}
}

func (e *Exporter) read(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.base+path, nil)
	if err != nil {
		return err
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("read %s: %s", path, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

func gauge(ch chan<- prometheus.Metric, d *prometheus.Desc, v float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

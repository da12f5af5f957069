// Package system asks the system under trial what any client could ask: what
// it holds, and how much of it is still to be done.
//
// It knows the wire contract (docs/wire-contract.md), not the services' code.
package system

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Client satisfies trial.System.
type Client struct {
	url    string
	client *http.Client
}

// New returns a client of the API at url (for example http://198.19.0.1),
// reached through transport.
func New(url string, transport http.RoundTripper) *Client {
	return &Client{url, &http.Client{Transport: transport}}
}

// Backlog is the queue_backlog_length of GET /stats.
func (c *Client) Backlog(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	res, err := c.get(ctx, "/stats")
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	var stats struct {
		Backlog *int `json:"queue_backlog_length"`
	}
	if err := json.NewDecoder(res.Body).Decode(&stats); err != nil {
		return 0, fmt.Errorf("read /stats: %w", err)
	}
	if stats.Backlog == nil {
		return 0, fmt.Errorf("read /stats: no queue_backlog_length")
	}
	return *stats.Backlog, nil
}

// Held copies GET /tasks?prefix=… to w. An answer that was cut short is an
// error.
func (c *Client) Held(ctx context.Context, prefix string, w io.Writer) error {
	res, err := c.get(ctx, "/tasks?prefix="+url.QueryEscape(prefix))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	var last []byte
	for lines.Scan() {
		last = append(last[:0], lines.Bytes()...)
		if _, err := w.Write(append(last, '\n')); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read /tasks: %w", err)
	}
	var end struct {
		End bool `json:"end"`
	}
	if json.Unmarshal(last, &end) != nil || !end.End {
		return fmt.Errorf("read /tasks: the answer was cut: no closing line")
	}
	return nil
}

func (c *Client) get(ctx context.Context, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		defer res.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(res.Body, 300))
		return nil, fmt.Errorf("GET %s: %s: %s", path, res.Status, text)
	}
	return res, nil
}

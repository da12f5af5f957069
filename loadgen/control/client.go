package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// Client speaks to a Server. Errors that the Server reports are *Problem.
type Client struct {
	base string
	http *http.Client
}

// NewClient returns a Client for the Server at base, such as http://127.0.0.1:8090.
// How it is reached, and for how long at most, is h's business; Stop and Open can
// take as long as an attack's timeout and as a download.
func NewClient(base string, h *http.Client) *Client {
	return &Client{base: strings.TrimSuffix(base, "/"), http: h}
}

// Start begins an attack.
func (c *Client) Start(ctx context.Context, s Spec) (Status, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return Status{}, fmt.Errorf("encode attack %s: %w", s.ID, err)
	}
	return c.status(ctx, http.MethodPost, "/attacks", body)
}

// Status tells how an attack is doing.
func (c *Client) Status(ctx context.Context, id string) (Status, error) {
	return c.status(ctx, http.MethodGet, "/attacks/"+url.PathEscape(id), nil)
}

// Stop ends an attack's sending and returns when its last answer is in and its
// files are closed. Stopping one that is over returns how it ended.
func (c *Client) Stop(ctx context.Context, id string) (Status, error) {
	return c.status(ctx, http.MethodDelete, "/attacks/"+url.PathEscape(id), nil)
}

// Open streams a file of an attack that is over. Reading it ends with
// io.ErrUnexpectedEOF if the stream was cut. The caller closes it.
func (c *Client) Open(ctx context.Context, id string, f File) (io.ReadCloser, error) {
	resp, err := c.do(ctx, http.MethodGet, "/attacks/"+url.PathEscape(id)+"/"+url.PathEscape(string(f)), nil)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// Copy writes a file of an attack that is over to w.
func (c *Client) Copy(ctx context.Context, id string, f File, w io.Writer) error {
	r, err := c.Open(ctx, id, f)
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := io.Copy(w, r); err != nil {
		return fmt.Errorf("copy %s of attack %s: %w", f, id, err)
	}
	return nil
}

// Health returns nil when the Server answers.
func (c *Client) Health(ctx context.Context) error {
	resp, err := c.do(ctx, http.MethodGet, "/healthz", nil)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func (c *Client) status(ctx context.Context, method, path string, body []byte) (Status, error) {
	resp, err := c.do(ctx, method, path, body)
	if err != nil {
		return Status{}, err
	}
	defer resp.Body.Close()
	var s Status
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		return Status{}, fmt.Errorf("%s %s: read the status: %w", method, path, err)
	}
	return s, nil
}

// do sends a request and turns answers other than 2xx into errors.
func (c *Client) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the load generator: %w", err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	p := &Problem{}
	if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); media == problemType && json.Unmarshal(text, p) == nil {
		return nil, p
	}
	return nil, fmt.Errorf("%s %s: %s: %.200s", method, path, resp.Status, text)
}

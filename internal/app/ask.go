package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/kontorhq/kontor/client"
)

// remote is a node that verbs speak to over its API, as any program does.
type remote struct {
	url, key string
	http     *http.Client
}

const (
	remoteTimeout  = 45 * time.Second
	remoteBytesMax = 64 << 20
)

// remote is the node that bindAPI's flag, the environment, or the kontor dev of this directory names.
func (c *cli) remote(cmd *cobra.Command) (*remote, error) {
	address, key, err := c.apiAddress(cmd)
	if err != nil {
		return nil, err
	}
	return &remote{url: strings.TrimSuffix(address, "/"), key: key, http: &http.Client{Timeout: remoteTimeout}}, nil
}

// ask makes a request and returns the answer, or the problem as an error. A write has an idempotency key of its own and is
// not repeated.
func (r *remote) ask(ctx context.Context, method, path string, query url.Values, body any) (map[string]any, error) {
	target := r.url + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	var content io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("write the request: %w", err)
		}
		content = bytes.NewReader(raw)
	}
	request, err := http.NewRequestWithContext(ctx, method, target, content)
	if err != nil {
		return nil, fmt.Errorf("make a request to %s: %w", r.url, err)
	}
	request.Header.Set("Authorization", "Bearer "+r.key)
	if method != http.MethodGet {
		request.Header.Set("Idempotency-Key", client.NewKey())
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := r.http.Do(request)
	if err != nil {
		return nil, noAnswer(r.url, errors.Unwrap(err))
	}
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(response.Body, remoteBytesMax))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", r.url, err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		return nil, problemOf(response, raw)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var value map[string]any
	if err := decoder.Decode(&value); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", r.url, err)
	}
	return value, nil
}

// noAnswer is the error of a request that nobody answered.
func noAnswer(address string, cause error) error {
	if errors.Is(cause, syscall.ECONNREFUSED) {
		return fmt.Errorf("nobody listens at %s: start a node there, as by kontor dev, or say by --api-url or %s where one is", address, clientURLVariable)
	}
	return fmt.Errorf("ask %s: %w", address, cause)
}

// problemOf makes an error of an answer that is one.
func problemOf(response *http.Response, raw []byte) error {
	var p client.Problem
	if err := json.Unmarshal(raw, &p); err != nil || p.Code == "" {
		return fmt.Errorf("%s answered %s, and no problem as Kontor has it: is it Kontor's API?", response.Request.URL.Host, response.Status)
	}
	if p.Errors == nil || len(*p.Errors) < 2 {
		return &p
	}
	lines := make([]string, len(*p.Errors))
	for i, item := range *p.Errors {
		lines[i] = item.Detail
		if item.Param != nil {
			lines[i] = *item.Param + ": " + item.Detail
		}
	}
	return errors.New(p.Code + ": " + strings.Join(lines, "; "))
}

// pagesMax bounds how many pages a list follows: one may be short, or empty.
const pagesMax = 500

// list reads a list until it has as many rows as wanted, or there are no more; more tells whether there may be.
func (r *remote) list(ctx context.Context, path string, query url.Values, wanted int) (rows []any, more bool, err error) {
	const pageMost = 100
	if query == nil {
		query = url.Values{}
	}
	for range pagesMax {
		query.Set("limit", fmt.Sprint(min(pageMost, wanted-len(rows))))
		page, err := r.ask(ctx, http.MethodGet, path, query, nil)
		if err != nil {
			return nil, false, err
		}
		data, _ := page["data"].([]any)
		rows = append(rows, data...)
		next, _ := page["next_cursor"].(string)
		if more = next != ""; !more || len(rows) >= wanted {
			return rows, more, nil
		}
		query.Set("cursor", next)
	}
	return rows, more, nil
}

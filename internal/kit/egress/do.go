package egress

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"
)

// Request is one request. Its header is not changed.
type Request struct {
	Method       string
	URL          *url.URL
	Header       http.Header
	Body         []byte
	Timeout      time.Duration // of the whole, the answer's body included; 0 means the context's
	BodyBytesMax int64         // of the answer, kept
	// Begin, if there is one, is called when a connection is there and nothing is written to it yet; false keeps the request from
	// being sent: SentNo and FailureInterrupted. Another connection for the same request calls it again.
	Begin func() bool
}

// Sent says whether the request may have reached the other side.
type Sent string

// What is known of a request.
const (
	SentNo    Sent = "no"    // certainly no byte of it left
	SentMaybe Sent = "maybe" // something was written, and no answer came
	SentYes   Sent = "yes"   // it was answered
)

// Response is what became of a request: an answer, or a Failure, or an answer whose body broke off and a Failure.
type Response struct {
	Sent      Sent
	Status    int // 0: no answer
	Header    http.Header
	Body      []byte // the first BodyBytesMax of it
	Size      int64  // of the body, as far as it was read
	Truncated bool   // there was more of the body than Body has
	SHA256    []byte // of the whole body; nil when it was not read to its end
	Duration  time.Duration
	Failure   Failure // empty: the answer is whole
	Err       error   // behind Failure
}

// Do sends the request once, and waits for the answer.
func (c *Client) Do(ctx context.Context, r Request) Response {
	if r.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.Timeout)
		defer cancel()
	}
	began := time.Now() //nolint:forbidigo // a stopwatch
	out := c.exchange(ctx, r)
	out.Duration = time.Since(began)
	return out
}

func (c *Client) exchange(ctx context.Context, r Request) Response {
	onward, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := &passage{cancel: cancel, begin: r.Begin}
	request, err := http.NewRequestWithContext(p.trace(onward), r.Method, r.URL.String(), bytes.NewReader(r.Body))
	if err != nil {
		return Response{Sent: SentNo, Failure: FailureRequest, Err: err}
	}
	if len(r.Body) == 0 {
		request.Body, request.GetBody = http.NoBody, nil
	}
	if request.Header = r.Header.Clone(); request.Header == nil {
		request.Header = http.Header{}
	}
	answer, err := c.transport.RoundTrip(request)
	if err != nil {
		out := Response{Sent: p.judge(), Failure: p.name(ctx, err), Err: err}
		if out.Failure == FailureCertificate { // the other side reads nothing before the handshake is over
			out.Sent = SentNo
		}
		return out
	}
	defer func() { _ = answer.Body.Close() }() // what was read is all that counts
	out := Response{Sent: SentYes, Status: answer.StatusCode, Header: answer.Header}
	if err := out.read(answer.Body, r.BodyBytesMax); err != nil {
		out.Err, out.Failure = err, nameBroken(ctx, err)
	}
	return out
}

// read keeps the beginning of the body, and reads on for the hash of the whole.
func (r *Response) read(body io.Reader, keep int64) error {
	hash := sha256.New()
	whole := io.TeeReader(io.LimitReader(body, wholeBytesMax+1), hash)
	var err error
	if r.Body, err = io.ReadAll(io.LimitReader(whole, keep)); err != nil {
		r.Size, r.Truncated = int64(len(r.Body)), true
		return err
	}
	rest, err := io.Copy(io.Discard, whole)
	r.Size, r.Truncated = int64(len(r.Body))+rest, rest > 0 || err != nil
	if err == nil && r.Size <= wholeBytesMax {
		r.SHA256 = hash.Sum(nil)
	}
	return err
}

// passage follows one request through the connections it is given. The transport gives it another when a kept one turns
// out to be closed; that is right as long as nothing was written.
type passage struct {
	cancel   context.CancelCauseFunc
	begin    func() bool
	mu       sync.Mutex
	conn     *conn // the last it was given
	lost     bool  // something was written to an earlier one
	tls      bool  // a handshake began
	kept     bool  // the last was given to somebody before
	answered bool  // the first byte of an answer came
}

func (p *passage) trace(ctx context.Context) context.Context {
	// Hooks of a dial may be called by another goroutine, and after the request's end.
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:              func(info httptrace.GotConnInfo) { p.take(below(info.Conn), info.Reused) },
		TLSHandshakeStart:    func() { p.mu.Lock(); p.tls = true; p.mu.Unlock() },
		GotFirstResponseByte: func() { p.mu.Lock(); p.answered = true; p.mu.Unlock() },
	})
}

// take is called before the first byte can be written to the connection.
func (p *passage) take(next *conn, kept bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conn != nil && !p.conn.shutUnwritten() {
		p.lost = true
	}
	p.conn, p.kept = next, kept
	if p.lost {
		next.shutDown()
		p.cancel(errNotRepeated)
		return
	}
	next.give()
	if p.begin != nil && !p.begin() {
		next.shutDown()
		p.cancel(errWithheld)
	}
}

// judge tells, after a failure, whether the request may have left; if not, it cannot any more.
func (p *passage) judge() Sent {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lost || p.conn != nil && !p.conn.shutUnwritten() {
		return SentMaybe
	}
	return SentNo
}

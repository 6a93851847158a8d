package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// request is a request's bytes with holes of a fixed width, which every repeat fills anew. The client shares the
// processors with what it measures, so it writes bytes and looks for bytes, and nothing else.
type request struct {
	bytes []byte
	keys  []int // where a random text of keyDigits digits goes, the same in all of them
	debit int   // where the number of an account goes; 0: nowhere
	cred  int
}

const keyDigits = 32

// The marks of holes, as wide as what fills them.
const (
	keyMark    = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
	debitMark  = "dddddddd"
	creditMark = "cccccccc"
)

// newRequest makes a POST with an idempotency key.
func newRequest(path, key, body string) request {
	head := "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + key +
		"\r\nContent-Type: application/json\r\nIdempotency-Key: " + keyMark + "\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n"
	r := request{bytes: []byte(head + body)}
	for from := 0; ; {
		at := bytes.Index(r.bytes[from:], []byte(keyMark))
		if at < 0 {
			break
		}
		r.keys = append(r.keys, from+at)
		from += at + keyDigits
	}
	r.debit, r.cred = max(bytes.Index(r.bytes, []byte(debitMark)), 0), max(bytes.Index(r.bytes, []byte(creditMark)), 0)
	return r
}

// fill writes the next request into out, which begins as a copy of bytes.
func (r *request) fill(out []byte, rng *rand.Rand, choose chooser) {
	const hex = "0123456789abcdef"
	high, low := rng.Uint64(), rng.Uint64()
	for _, at := range r.keys {
		for i := range 16 {
			out[at+i], out[at+16+i] = hex[high>>(4*i)&15], hex[low>>(4*i)&15]
		}
	}
	if r.debit > 0 {
		debit, credit := choose(rng)
		writeNumber(out[r.debit:], debit)
		writeNumber(out[r.cred:], credit)
	}
}

func writeNumber(out []byte, number int) {
	for i := accountDigits - 1; i >= 0; i-- {
		out[i] = byte('0' + number%10)
		number /= 10
	}
}

// load is requests on a number of connections, each waiting for its answer before it sends the next.
type load struct {
	address     string
	connections int
	request     request
	choose      chooser
	contains    []byte // what the body of a good answer holds; nil: anything
}

// outcome is what a load has counted beside a sample.
type outcome struct {
	accepted int    // good answers, those outside the window included
	example  string // of an answer that was not good
}

// The phases of a load.
const (
	phaseWarm int32 = iota
	phaseCount
	phaseStop
)

// drive runs the load. edges is called at both ends of the window, while the load goes on.
func (l *load) drive(ctx context.Context, w window, edges func(begins bool)) (sample, outcome, error) {
	users := make([]*user, l.connections)
	for i := range users {
		users[i] = newUser(l, w.warm+w.count)
		defer users[i].hangUp()
		if err := users[i].dial(ctx); err != nil {
			return sample{}, outcome{}, err
		}
	}
	var phase atomic.Int32
	var working sync.WaitGroup
	for _, u := range users {
		working.Go(func() { u.work(ctx, &phase) })
	}
	sleep(ctx, w.warm)
	edges(true)
	since := time.Now()
	phase.Store(phaseCount)
	sleep(ctx, w.count)
	s := sample{elapsed: time.Since(since)}
	edges(false)
	phase.Store(phaseStop)
	working.Wait()
	var o outcome
	for _, u := range users {
		s.latencies = append(s.latencies, u.latencies...)
		s.errors += u.errors
		o.accepted += u.accepted
		if u.example != "" {
			o.example = u.example
		}
	}
	s.done = len(s.latencies)
	return s, o, ctx.Err()
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// user is one connection.
type user struct {
	load      *load
	conn      net.Conn
	rng       *rand.Rand
	deadline  time.Time
	out, in   []byte
	latencies []time.Duration
	accepted  int
	errors    int
	example   string
}

// newUser makes a connection, not yet dialled, for about the given time.
func newUser(l *load, length time.Duration) *user {
	return &user{
		load: l, rng: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), deadline: time.Now().Add(length + time.Minute),
		out: bytes.Clone(l.request.bytes), in: make([]byte, 16<<10), latencies: make([]time.Duration, 0, 1<<12),
	}
}

func (u *user) dial(ctx context.Context) (err error) {
	if u.conn, err = (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", u.load.address); err != nil {
		return fmt.Errorf("connect to %s: %w", u.load.address, err)
	}
	return u.conn.SetDeadline(u.deadline)
}

func (u *user) hangUp() {
	if u.conn != nil {
		_ = u.conn.Close()
	}
}

func (u *user) work(ctx context.Context, phase *atomic.Int32) {
	for phase.Load() != phaseStop && ctx.Err() == nil {
		u.load.request.fill(u.out, u.rng, u.load.choose)
		since := time.Now()
		status, body, err := u.exchange()
		took := time.Since(since)
		switch {
		case err != nil:
			u.fail(err.Error())
			u.hangUp()
			if err := u.dial(ctx); err != nil {
				return
			}
		case status != "201" || !bytes.Contains(body, u.load.contains):
			u.fail(status + " " + string(body))
		default:
			u.accepted++
			if phase.Load() == phaseCount {
				u.latencies = append(u.latencies, took)
			}
		}
	}
}

func (u *user) fail(example string) {
	u.errors++
	u.example = example
}

var errAnswer = errors.New("not an answer this client can read")

// exchange sends what out holds and reads the answer. The body is valid until the next exchange.
func (u *user) exchange() (status string, body []byte, err error) {
	if _, err := u.conn.Write(u.out); err != nil {
		return "", nil, err
	}
	have, head, length := 0, -1, 0
	for head < 0 || have < head+length {
		if have == len(u.in) {
			return "", nil, errAnswer
		}
		n, err := u.conn.Read(u.in[have:])
		if err != nil {
			return "", nil, err
		}
		have += n
		if head >= 0 {
			continue
		}
		if end := bytes.Index(u.in[:have], []byte("\r\n\r\n")); end >= 0 {
			if head = end + 4; end < 12 {
				return "", nil, errAnswer
			}
			if length = contentLength(u.in[:head]); length < 0 {
				return "", nil, errAnswer
			}
		}
	}
	return string(u.in[9:12]), u.in[head : head+length], nil
}

func contentLength(head []byte) int {
	const name = "\r\nContent-Length: "
	at := bytes.Index(head, []byte(name))
	if at < 0 {
		return -1
	}
	n := 0
	for _, c := range head[at+len(name):] {
		if c < '0' || c > '9' {
			break
		}
		n = 10*n + int(c-'0')
	}
	return n
}

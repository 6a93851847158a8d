package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/lane"
)

// peerVerb has this program be one of the peers: servers that read the same requests as kontor serve, answer as many
// bytes, and do less in between.
const peerVerb = "peer"

// The peers.
const (
	peerEcho   = "echo"   // does nothing
	peerSingle = "single" // one transaction a request: an entry and two balances
	peerGroup  = "group"  // the same by kit/lane: one transaction for all that wait
)

// peers are the running ones.
type peers struct{ echo, single, group *target }

// startPeers starts each as a process of its own. answer is how long their answers are.
func (b *bench) startPeers(ctx context.Context, answer int) (p *peers, err error) {
	p = &peers{}
	defer func() {
		if err != nil {
			p.stop()
		}
	}()
	for name, to := range map[string]**target{peerEcho: &p.echo, peerSingle: &p.single, peerGroup: &p.group} {
		if *to, err = b.startPeer(ctx, name, answer); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (b *bench) startPeer(ctx context.Context, name string, answer int) (*target, error) {
	url, err := b.database(ctx, "peer_"+name)
	if err != nil {
		return nil, err
	}
	if err := makeRaw(ctx, url, rawSchemaSQL); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	socket, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("listen for the peer %s: %w", name, err)
	}
	defer func() { _ = socket.Close() }()
	file, err := socket.File()
	if err != nil {
		return nil, fmt.Errorf("hand over the socket of the peer %s: %w", name, err)
	}
	defer func() { _ = file.Close() }()
	args := []string{peerVerb, "-kind", name, "-url", url, "-answer", strconv.Itoa(answer)}
	process, err := b.startProcess("peer-"+name, self, args, nil, file)
	if err != nil {
		return nil, err
	}
	address := socket.Addr().String()
	if err := process.awaitOK(ctx, "http://"+address+"/ready"); err != nil {
		process.stop()
		return nil, err
	}
	return &target{process: process, address: address}, nil
}

func (p *peers) stop() {
	for _, t := range []*target{p.echo, p.single, p.group} {
		if t != nil {
			t.process.stop()
		}
	}
}

// runPeer is the life of a peer; it ends by a signal.
func runPeer(args []string) error {
	flags := flag.NewFlagSet(peerVerb, flag.ContinueOnError)
	kind, url, answer := flags.String("kind", "", ""), flags.String("url", "", ""), flags.Int("answer", 0, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx := context.Background()
	var work func(context.Context, transfer) error
	var err error
	switch *kind {
	case peerEcho:
		work = func(context.Context, transfer) error { return nil }
	case peerSingle:
		work, err = newSingle(ctx, *url)
	case peerGroup:
		work, err = newGroup(ctx, *url)
	default:
		err = errors.New("there is no such peer")
	}
	if err != nil {
		return err
	}
	const inherited = 3 // the descriptor of the socket
	socket, err := net.FileListener(os.NewFile(inherited, "socket"))
	if err != nil {
		return fmt.Errorf("take the socket over: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST "+entriesPath, peerHandler(work, []byte(strings.Repeat("x", *answer))))
	return (&http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}).Serve(socket)
}

func peerHandler(work func(context.Context, transfer) error, answer []byte) http.HandlerFunc {
	source := ids.NewSource(clock.System)
	return func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Postings []struct {
				DebitAccount  string `json:"debit_account"`
				CreditAccount string `json:"credit_account"`
				Amount        int64  `json:"amount"`
			} `json:"postings"`
		}
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &in)
		}
		if err != nil || len(in.Postings) != 1 {
			http.Error(w, "want one posting", http.StatusBadRequest)
			return
		}
		p := in.Postings[0]
		if err := work(r.Context(), transfer{lastNumber(p.DebitAccount), lastNumber(p.CreditAccount), p.Amount}); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		header, id := w.Header(), source.New()
		header.Set("Content-Type", "application/json")
		header.Set("Content-Length", strconv.Itoa(len(answer)))
		header.Set("Request-Id", ids.Format("req", id))
		header.Set("Location", entriesPath+"/"+ids.Format("ent", id))
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(answer)
	}
}

const singleInsertSQL = `insert into transfer (id, debit_id, credit_id, amount) values ($1, $2, $3, $4)`

const singleUpdateSQL = `update account set debits = debits + $2, credits = credits + $3 where id = $1`

// newSingle does what most programs do, and does it well: one round trip, a connection for every request, the two
// accounts in the order of their ids.
func newSingle(ctx context.Context, url string) (func(context.Context, transfer) error, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("read the database's URL: %w", err)
	}
	cfg.MaxConns = 64
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open the pool: %w", err)
	}
	source := ids.NewSource(clock.System)
	return func(ctx context.Context, t transfer) error {
		first, second := movement{debits: t.amount}, movement{credits: t.amount}
		low, high := t.debit, t.credit
		if low > high {
			low, high, first, second = high, low, second, first
		}
		batch := &pgx.Batch{}
		batch.Queue(singleInsertSQL, source.New(), accountID(t.debit), accountID(t.credit), t.amount)
		batch.Queue(singleUpdateSQL, accountID(low), first.debits, first.credits)
		batch.Queue(singleUpdateSQL, accountID(high), second.debits, second.credits)
		return pool.SendBatch(ctx, batch).Close()
	}, nil
}

// newGroup is Kontor's way of writing without what Kontor writes: no idempotency record, no event, no balance after.
func newGroup(ctx context.Context, url string) (func(context.Context, transfer) error, error) {
	const workers = 2
	writers := make(chan *raw, workers)
	for range workers {
		w, err := openRaw(ctx, url)
		if err != nil {
			return nil, err
		}
		writers <- w
	}
	cfg := lane.Config{Name: "transfers", BatchMax: 512, QueueMax: 8192, Workers: workers, Timeout: 10 * time.Second}
	l := lane.New(cfg, lane.NewMetrics(prometheus.NewRegistry()),
		func(ctx context.Context, batch []transfer) ([]lane.Result[struct{}], error) {
			w := <-writers
			defer func() { writers <- w }()
			return make([]lane.Result[struct{}], len(batch)), w.write(ctx, batch)
		})
	go func() { _ = l.Run(ctx) }()
	return func(ctx context.Context, t transfer) error {
		_, err := l.Do(ctx, t)
		return err
	}, nil
}

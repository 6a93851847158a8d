package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

const (
	entriesPath = "/v1/ledger/entries"
	entryBody   = `{"code":"transfer","postings":[{"debit_account":"bench/account/` + debitMark + `","credit_account":"bench/account/` +
		creditMark + `","amount":1250}]}`
)

// target is a server under load: kontor serve, or a peer.
type target struct {
	process  *process
	serve    *serve // nil for a peer
	provider int    // pid of the sandbox; 0: none
	address  string
	accepted int // good answers so far
}

// loaded is a subject that is a load on a target.
func (b *bench) loaded(f *figure, t *target, l load, beside *subject) *subject {
	l.address, l.connections = t.address, f.Size
	return &subject{figure: f, beside: beside, take: func(ctx context.Context, w window) (sample, error) {
		s, o, err := b.drive(ctx, w, t, &l)
		t.accepted += o.accepted
		if s.errors > 0 {
			b.note("%s, %d connections: %d errors, such as %.300s", f.Name, f.Size, s.errors, o.example)
		}
		return s, err
	}}
}

// drive runs a load and reads processor times, lanes and a profile over its window.
func (b *bench) drive(ctx context.Context, w window, t *target, l *load) (sample, outcome, error) {
	var watch cpuWatch
	var cpu cpuTimes
	var before, after map[string]float64
	profiled := func() error { return nil }
	s, o, err := l.drive(ctx, w, func(begins bool) {
		if begins {
			if t.serve != nil {
				before = t.serve.scrape(ctx)
				profiled = t.serve.profile(ctx, w)
			}
			watch = b.watch(t.process.pid, t.provider)
			return
		}
		cpu = watch.read()
		if t.serve != nil {
			after = t.serve.scrape(ctx)
		}
	})
	if err == nil {
		err = profiled()
	}
	s.cpu, s.lanes = cpu, lanesBetween(before, after)
	return s, o, err
}

// measureHTTP measures requests of one entry each, beside servers that do less.
func (b *bench) measureHTTP(ctx context.Context) error {
	url, books, err := b.booksIn(ctx, "http")
	if err != nil {
		return err
	}
	defer books.close()
	node, err := b.startServe(ctx, "serve", url)
	if err != nil {
		return err
	}
	defer node.stop()
	kontor := &target{process: node.process, serve: node, address: node.address}
	entries := newRequest(entriesPath, books.key, entryBody)
	answer, err := b.probe(ctx, kontor, entries)
	if err != nil {
		return err
	}
	peers, err := b.startPeers(ctx, answer)
	if err != nil {
		return err
	}
	defer peers.stop()
	for _, connections := range []int{16, 64, 256} {
		group := b.httpGroup(kontor, peers, entries, connections)
		if err := b.measure(ctx, fmt.Sprintf("http, %d connections", connections), group); err != nil {
			return err
		}
	}
	b.noteMemory(partHTTP, node)
	if err := b.countEntries(ctx, url, kontor.accepted); err != nil {
		return err
	}
	node.stop()
	return b.verify(ctx, partHTTP, url)
}

// httpGroup is what is compared at one number of connections: with what is nearest to Kontor's way at each, with the other peers at 64.
func (b *bench) httpGroup(kontor *target, peers *peers, entries request, connections int) []*subject {
	uniform := load{request: entries, choose: twoAccounts}
	hot := load{request: entries, choose: hotAccount}
	on := func(t *target, name, aim string, l load, beside *subject) *subject {
		return b.loaded(&figure{Part: partHTTP, Name: name, Size: connections, Aim: aim}, t, l, beside)
	}
	group := on(peers.group, "peer: group commit of a bare row", "", uniform, nil)
	group.figure.short = "group commit"
	aim := "at least 8,000, better 10,000"
	var others []*subject
	switch connections {
	case 64:
		others = []*subject{
			on(peers.echo, "peer: echo, no database", "", uniform, nil),
			on(peers.single, "peer: one transaction a request, uniform", "", uniform, nil),
			on(peers.single, "peer: one transaction a request, hot", "", hot, nil),
		}
		aim += ", p99 below 25 ms"
	case 256:
		aim += ", no errors"
	}
	spread := on(kontor, "POST "+entriesPath+", uniform", aim, uniform, group)
	spread.figure.short = "uniform"
	return append(others, group, spread, on(kontor, "POST "+entriesPath+", hot", "at least 90 %", hot, spread))
}

// probe sends one request and returns the length of its answer's body.
func (b *bench) probe(ctx context.Context, t *target, r request) (int, error) {
	l := &load{address: t.address, request: r, choose: twoAccounts}
	u := newUser(l, 0)
	if err := u.dial(ctx); err != nil {
		return 0, err
	}
	defer u.hangUp()
	r.fill(u.out, u.rng, l.choose)
	status, body, err := u.exchange()
	if err == nil && status != "201" {
		err = fmt.Errorf("answered %s %s", status, body)
	}
	if err != nil {
		return 0, fmt.Errorf("try %s: %w", t.process.name, err)
	}
	t.accepted++
	return len(body), nil
}

const countEntriesSQL = `select count(*) from ledger_entry`

// countEntries compares what was acknowledged with what is in the books.
func (b *bench) countEntries(ctx context.Context, url string, accepted int) error {
	found, err := count(ctx, url, countEntriesSQL)
	if err != nil {
		return err
	}
	b.report.Checks = append(b.report.Checks, check{
		Part: partHTTP, Name: "entries in the books", Value: grouped(float64(found)), Aim: "as many as were answered 201: " + grouped(float64(accepted)),
		OK: found == accepted,
	})
	return nil
}

// count reads one number.
func count(ctx context.Context, url, sql string) (int, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return 0, fmt.Errorf("count: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	var n int
	if err := conn.QueryRow(ctx, sql).Scan(&n); err != nil {
		return 0, fmt.Errorf("count: %w", err)
	}
	return n, nil
}

// lastNumber reads the digits that end an account's code.
func lastNumber(code string) (n int) {
	for _, c := range code[strings.LastIndexByte(code, '/')+1:] {
		n = 10*n + int(c-'0')
	}
	return n
}

package command_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/fault"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/lane"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
	"github.com/kontorhq/kontor/internal/platform/command"
)

// bench is a database with a table of effects. Nodes are runners with pools of their own.
type bench struct {
	*testing.T
	url    string
	direct string // never through a pooler
	db     *postgres.DB
	source *ids.Source
	org    ids.ID
}

func setup(t *testing.T) *bench {
	t.Helper()
	t.Parallel()
	database := postgrestest.DB(t)
	b := &bench{T: t, url: database.URL, direct: database.Direct, source: ids.NewSource(clock.System)}
	b.db, b.org = b.open(nil, 4), b.source.New()
	b.exec(`create table effect (org_id uuid, key text, note text, token text)`)
	return b
}

// open makes a pool whose sessions have the given settings, which they cannot have from a pooler.
func (b *bench) open(settings map[string]string, connectionsMax int32) *postgres.DB {
	b.Helper()
	base := b.url
	if len(settings) > 0 {
		base = b.direct
	}
	u, err := url.Parse(base)
	if err != nil {
		b.Fatal(err)
	}
	q := u.Query()
	for name, value := range settings {
		q.Set(name, value)
	}
	u.RawQuery = q.Encode()
	db, err := postgres.Open(b.Context(), u.String(), postgres.Options{ConnectionsMax: connectionsMax})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(db.Close)
	return db
}

func (b *bench) exec(sql string) {
	b.Helper()
	if _, err := b.db.Pool().Exec(b.Context(), sql); err != nil {
		b.Fatal(err)
	}
}

// until asks the database again and again, until it says yes.
func (b *bench) until(sql string, args ...any) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), 20*time.Second)
	defer cancel()
	for yes := false; !yes; {
		if err := b.db.Pool().QueryRow(ctx, sql, args...).Scan(&yes); err != nil {
			b.Fatalf("%s: %v", sql, err)
		}
	}
}

type effect struct{ Key, Note, Token string }

// effects are all there are of an organisation.
func (b *bench) effects(org ids.ID) []effect {
	b.Helper()
	rows, err := b.db.Pool().Query(b.Context(), `select key, note, token from effect where org_id = $1 order by key, token`, org)
	if err != nil {
		b.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[effect])
	if err != nil {
		b.Fatal(err)
	}
	return list
}

// oneEffect holds that the key took effect once, and that the answer is of that effect.
func (b *bench) oneEffect(key string, answers ...command.Answer) {
	b.Helper()
	var tokens []string
	for _, e := range b.effects(b.org) {
		if e.Key == key {
			tokens = append(tokens, e.Token)
		}
	}
	if len(tokens) != 1 {
		b.Fatalf("%s took effect %d times, want once", key, len(tokens))
	}
	for _, a := range answers {
		if string(a.Body) != tokens[0] {
			b.Errorf("an answer for %s tells of %q, but the effect is %q", key, a.Body, tokens[0])
		}
	}
}

func (b *bench) meta(key, note string) command.Meta {
	return command.Meta{OrgID: b.org, Key: key, Fingerprint: sha256.Sum256([]byte(note)), RequestID: "req_" + key}
}

// problem records a refusal as its code.
func problem(err error, requestID string) command.Answer {
	f := fault.From(err)
	return command.Answer{Status: 400, Body: []byte(f.Code + " " + requestID)}
}

// act has an effect and tells of it: no two runs leave the same token.
func (b *bench) act(ctx context.Context, tx postgres.Tx, meta command.Meta, note string) command.Outcome {
	token := b.source.New()
	shown := ids.Format("tok", token)
	_, err := tx.Exec(ctx, `insert into effect (org_id, key, note, token) values ($1, $2, $3, $4)`, meta.OrgID, meta.Key, note, shown)
	if err != nil {
		return command.Outcome{Err: err}
	}
	return command.Outcome{Answer: command.Answer{Status: 201, Body: []byte(shown), SubjectID: token}}
}

// actAll is act as the body of a lane.
func (b *bench) actAll(ctx context.Context, tx postgres.Tx, items []command.Item[string]) ([]command.Outcome, error) {
	out := make([]command.Outcome, len(items))
	for i, item := range items {
		if out[i] = b.act(ctx, tx, item.Meta, item.In); out[i].Err != nil {
			return nil, out[i].Err
		}
	}
	return out, nil
}

func laneConfig() lane.Config {
	return lane.Config{Name: "test", BatchMax: 32, QueueMax: 1024, Workers: 2, Timeout: time.Minute}
}

// lane runs a lane until the test ends.
func (b *bench) lane(r *command.Runner, body command.Body[string]) *command.Lane[string] {
	b.Helper()
	return b.run(command.NewLane(r, laneConfig(), lane.NewMetrics(prometheus.NewRegistry()), body))
}

func (b *bench) run(l *command.Lane[string]) *command.Lane[string] {
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
	ended := make(chan error, 1)
	go func() { ended <- l.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	return l
}

// asker is one way to have a command carried out.
type asker func(meta command.Meta, note string) (command.Answer, error)

func (b *bench) viaLane(r *command.Runner, body command.Body[string]) asker {
	l := b.lane(r, body)
	return func(meta command.Meta, note string) (command.Answer, error) { return l.Do(b.Context(), meta, note) }
}

func (b *bench) viaOnce(r *command.Runner, body command.Body[string]) asker {
	return func(meta command.Meta, note string) (command.Answer, error) {
		return r.Once(b.Context(), meta, func(ctx context.Context, tx postgres.Tx) command.Outcome {
			out, err := body(ctx, tx, []command.Item[string]{{Meta: meta, In: note}})
			if err != nil {
				return command.Outcome{Err: err}
			}
			return out[0]
		})
	}
}

// eachWay runs a test once for lanes and once for Once.
func eachWay(t *testing.T, test func(b *bench, way func(*command.Runner, command.Body[string]) asker)) {
	t.Parallel()
	t.Run("lane", func(t *testing.T) {
		b := setup(t)
		test(b, b.viaLane)
	})
	t.Run("once", func(t *testing.T) {
		b := setup(t)
		test(b, b.viaOnce)
	})
}

func (b *bench) must(a command.Answer, err error) command.Answer {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
	return a
}

func (b *bench) refused(err error, want *fault.Fault) {
	b.Helper()
	if !errors.Is(err, want) {
		b.Fatalf("got %v, want %s", err, want.Code)
	}
}

package destinations

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kontorhq/kontor/internal/kit/clock"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/kit/postgrestest"
	"github.com/kontorhq/kontor/internal/platform/events"
)

// house is a database with a node on it, and more where a test asks for them.
type house struct {
	*testing.T
	*Destinations
	db  *postgres.DB
	org ids.ID
	env *sync.Map
	dir string
}

func newHouse(t *testing.T) *house {
	t.Helper()
	t.Parallel()
	db, err := postgres.Open(t.Context(), postgrestest.DB(t).URL, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	h := &house{T: t, db: db, org: ids.ID{15: 1}, env: &sync.Map{}, dir: t.TempDir()}
	h.Destinations = h.node()
	return h
}

// node is another process of the installation.
func (h *house) node() *Destinations {
	source := ids.NewSource(clock.System)
	return New(Config{
		DB: h.db, IDs: source, Clock: clock.System, Events: events.New(h.db, source), Registry: prometheus.NewRegistry(),
		Log: slog.New(slog.DiscardHandler),
		Secrets: SecretSources{Dirs: []string{h.dir}, Lookup: func(name string) (string, bool) {
			value, ok := h.env.Load(name)
			if !ok {
				return "", false
			}
			return value.(string), true
		}},
	})
}

func (h *house) inTx(body func(ctx context.Context, tx postgres.Tx) error) error {
	h.Helper()
	return h.db.InTx(h.Context(), body)
}

func (h *house) create(name string, change ...func(*Settings)) Destination {
	h.Helper()
	s := Settings{BaseURL: "https://api.example/v1"}
	for _, f := range change {
		f(&s)
	}
	var made Destination
	err := h.inTx(func(ctx context.Context, tx postgres.Tx) (err error) {
		made, err = h.Create(ctx, tx, Create{OrgID: h.org, Name: name, Settings: s})
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
	return made
}

func (h *house) update(u Update) (Destination, error) {
	h.Helper()
	u.OrgID = h.org
	var changed Destination
	err := h.inTx(func(ctx context.Context, tx postgres.Tx) (err error) {
		changed, err = h.Update(ctx, tx, u)
		return err
	})
	return changed, err
}

func (h *house) pause(until time.Time, reason string) (Destination, error) {
	h.Helper()
	var changed Destination
	err := h.inTx(func(ctx context.Context, tx postgres.Tx) (err error) {
		changed, err = h.Pause(ctx, tx, h.org, "api", until, reason)
		return err
	})
	return changed, err
}

func (h *house) resume(despiteRetryAfter bool) Destination {
	h.Helper()
	var changed Destination
	err := h.inTx(func(ctx context.Context, tx postgres.Tx) (err error) {
		changed, err = h.Resume(ctx, tx, h.org, "api", despiteRetryAfter)
		return err
	})
	if err != nil {
		h.Fatal(err)
	}
	return changed
}

// read is what the database has.
func (h *house) read(name string) Destination {
	h.Helper()
	found, err := h.Get(h.Context(), h.db.Pool(), h.org, name)
	if err != nil {
		h.Fatal(err)
	}
	return found
}

// entry is a destination as a node uses it.
func (h *house) entry(node *Destinations, name string) *Entry {
	h.Helper()
	list, err := node.Use(h.Context(), []Ref{{h.org, name}})
	if err != nil || list[0] == nil {
		h.Fatal(list, err)
	}
	return list[0]
}

func (h *house) refresh(nodes ...*Destinations) {
	h.Helper()
	for _, node := range nodes {
		if err := node.refresh(h.Context()); err != nil {
			h.Fatal(err)
		}
	}
}

// told lists the events of what held a destination, as type and reason.
func (h *house) told(id ids.ID) []string {
	h.Helper()
	rows, err := h.db.Pool().Query(h.Context(), `select type, payload from event
		where aggregateid = $1 and type in ('destination.paused', 'destination.resumed') order by xid, id`, id)
	if err != nil {
		h.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var kind string
		var payload []byte
		if err := rows.Scan(&kind, &payload); err != nil {
			h.Fatal(err)
		}
		var p holdPayload
		if err := json.Unmarshal(payload, &p); err != nil {
			h.Fatal(err)
		}
		out = append(out, kind+" "+string(p.Reason))
	}
	if rows.Err() != nil {
		h.Fatal(rows.Err())
	}
	return out
}

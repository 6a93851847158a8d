package destinations

import (
	"context"
	"encoding/json"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/postgres"
)

func TestEveryChangeOfADestinationHasItsEvent(t *testing.T) {
	h := newHouse(t)
	made := h.create("api", func(s *Settings) { s.Auth = Auth{Type: AuthBearer, Token: "env:SECRET_X"} })
	timeout := int64(7)
	if _, err := h.update(Update{Name: "api", TimeoutSeconds: &timeout}); err != nil {
		t.Fatal(err)
	}
	if err := h.inTx(func(ctx context.Context, tx postgres.Tx) error {
		return h.Delete(ctx, tx, h.org, "api", func(context.Context, postgres.Tx, Destination) (bool, error) { return false, nil })
	}); err != nil {
		t.Fatal(err)
	}
	rows, err := h.db.Pool().Query(t.Context(), `select type, payload from event where aggregateid = $1 order by xid, id`, made.ID)
	if err != nil {
		t.Fatal(err)
	}
	var told []Destination
	kinds, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (kind string, err error) {
		var payload []byte
		var d Destination
		if err := row.Scan(&kind, &payload); err != nil {
			return "", err
		}
		told = append(told, d)
		return kind, json.Unmarshal(payload, &told[len(told)-1])
	})
	if err != nil || !slices.Equal(kinds, []string{eventCreated, eventUpdated, eventDeleted}) {
		t.Fatal(kinds, err)
	}
	for i, want := range []struct{ version, timeout int64 }{{1, TimeoutSecondsDefault}, {2, 7}, {2, 7}} {
		if d := told[i]; d.Name != "api" || d.Version != want.version || d.TimeoutSeconds != want.timeout || d.Auth.Token != "env:SECRET_X" {
			t.Errorf("%s: %+v", kinds[i], d)
		}
	}
}

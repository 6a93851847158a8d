package ledger_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/migrations"
)

// Accounts from before there were events of their creation are told of in the same words.
func TestOldAccountsGetTheEventThatNewOnesHave(t *testing.T) {
	b := setup(t)
	low, high := int64(-5), int64(100)
	b.accounts(
		ledger.NewAccount{Code: "cash", Type: ledger.Asset},
		ledger.NewAccount{Code: "wallet/ann", Type: ledger.Liability, AvailableMin: &low, AvailableMax: &high, Metadata: []byte(`{"a":"<ü>"}`)},
	)
	payloads := func() map[string]any {
		rows, err := b.db.Pool().Query(t.Context(), `select payload from event where type = 'ledger.account.created'`)
		if err != nil {
			t.Fatal(err)
		}
		list, err := pgx.CollectRows(rows, pgx.RowTo[json.RawMessage])
		if err != nil {
			t.Fatal(err)
		}
		byCode := map[string]any{}
		for _, raw := range list {
			var payload map[string]any
			if err := json.Unmarshal(raw, &payload); err != nil {
				t.Fatal(err)
			}
			byCode[payload["code"].(string)] = payload
		}
		return byCode
	}
	want := payloads()
	file, err := migrations.FS.ReadFile("20261124200000_ledger.sql")
	if err != nil {
		t.Fatal(err)
	}
	up, down, _ := strings.Cut(string(file), "-- +goose Down")
	for _, statement := range []string{down, up} {
		if _, err := b.db.Pool().Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	if got := payloads(); len(got) != 2 || !reflect.DeepEqual(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
}

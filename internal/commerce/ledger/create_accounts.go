package ledger

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/jackc/pgx/v5"

	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/money"
	"github.com/kontorhq/kontor/internal/kit/postgres"
	"github.com/kontorhq/kontor/internal/platform/events"
)

// NewAccount asks for an account.
type NewAccount struct {
	OrgID        ids.ID
	Code         string
	Type         AccountType
	Asset        string
	Scale        *int16 // nil: the currency's own, else 0
	AvailableMin *int64
	AvailableMax *int64
	Metadata     []byte
}

// AccountResult is the account asked for, or why there is none. Exists tells that an equal one was there already.
type AccountResult struct {
	Account Account
	Exists  bool
	Err     error
}

const insertAssetsSQL = `
	insert into ledger_asset (org_id, code, scale)
	select distinct on (a.org_id, a.code) a.org_id, a.code, a.scale
	from unnest($1::uuid[], $2::text[], $3::smallint[]) as a (org_id, code, scale)
	order by a.org_id, a.code
	on conflict do nothing`

// An account of another scale than its asset's is left out here, and found missing afterwards.
const insertAccountsSQL = `
	insert into ledger_account (org_id, id, code, type, asset, scale, available_min, available_max, metadata, recorded_at, created_at)
	select a.org_id, a.id, a.code, a.type, a.asset, a.scale, a.available_min, a.available_max, a.metadata, now(), now()
	from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::smallint[], $7::bigint[], $8::bigint[], $9::jsonb[])
		as a (org_id, id, code, type, asset, scale, available_min, available_max, metadata)
	join ledger_asset s on s.org_id = a.org_id and s.code = a.asset and s.scale = a.scale
	order by a.org_id, a.code
	on conflict do nothing`

const accountsByCodeSQL = `
	select a.org_id, a.id, a.code, a.type, a.asset, a.scale, a.available_min, a.available_max,
		a.debits_posted, a.credits_posted, a.debits_pending, a.credits_pending, a.version, a.metadata, a.recorded_at, a.created_at
	from unnest($1::uuid[], $2::text[]) as k (org_id, code)
	join ledger_account a on a.org_id = k.org_id and a.code = k.code`

// CreateAccounts makes accounts, one Result each, in order. An equal account that exists is not an error.
func (l *Ledger) CreateAccounts(ctx context.Context, tx postgres.Tx, list []NewAccount) ([]AccountResult, error) {
	results := make([]AccountResult, len(list))
	made := make([]ids.ID, len(list))
	var orgs, accounts []ids.ID
	var codes, types, assets []string
	var scales []int16
	var lows, highs []*int64
	var metadata [][]byte
	for i := range list {
		a := &list[i]
		if results[i].Err = a.validate(); results[i].Err != nil {
			continue
		}
		made[i] = l.ids.New()
		orgs, accounts, codes, types = append(orgs, a.OrgID), append(accounts, made[i]), append(codes, a.Code), append(types, string(a.Type))
		assets, scales, lows, highs = append(assets, a.Asset), append(scales, a.scale()), append(lows, a.AvailableMin), append(highs, a.AvailableMax)
		metadata = append(metadata, a.Metadata)
	}
	if len(orgs) == 0 {
		return results, nil
	}
	var found []Account
	batch := &pgx.Batch{}
	batch.Queue(insertAssetsSQL, orgs, assets, scales)
	batch.Queue(insertAccountsSQL, orgs, accounts, codes, types, assets, scales, lows, highs, metadata)
	batch.Queue(accountsByCodeSQL, orgs, codes).Query(func(rows pgx.Rows) error {
		var err error
		found, err = pgx.CollectRows(rows, scanAccount)
		return err
	})
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		if postgres.Constraint(err) == "ledger_account_available_min" || postgres.Constraint(err) == "ledger_account_available_max" {
			return nil, ErrAccountInvalid.Because(err) // a bound that the empty account breaks
		}
		return nil, fmt.Errorf("create accounts: %w", err)
	}
	byCode := make(map[accountKey]Account, len(found))
	for _, a := range found {
		byCode[accountKey{a.OrgID, a.Code}] = a
	}
	var fresh []Account
	for i := range list {
		if results[i].Err != nil {
			continue
		}
		if results[i] = list[i].judge(byCode, made[i]); results[i].Err == nil && !results[i].Exists {
			fresh = append(fresh, results[i].Account)
		}
	}
	return results, l.announce(ctx, tx, fresh)
}

// announce appends the events of new accounts.
func (l *Ledger) announce(ctx context.Context, tx postgres.Tx, fresh []Account) error {
	if len(fresh) == 0 {
		return nil
	}
	list := make([]events.Event, len(fresh))
	for i := range fresh {
		var err error
		if list[i], err = created(&fresh[i]); err != nil {
			return fmt.Errorf("describe an account: %w", err)
		}
	}
	batch := &pgx.Batch{}
	l.events.Queue(batch, list)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("tell of new accounts: %w", err)
	}
	return nil
}

func (a *NewAccount) scale() int16 {
	if a.Scale != nil {
		return *a.Scale
	}
	scale, _ := money.Scale(a.Asset)
	return scale
}

func (a *NewAccount) validate() error {
	switch {
	case !codeForm.MatchString(a.Code):
		return ErrAccountInvalid.At("code")
	case !a.Type.Valid():
		return ErrAccountInvalid.At("type")
	case !assetForm.MatchString(a.Asset):
		return ErrAccountInvalid.At("asset")
	case a.scale() < 0 || a.scale() > 18:
		return ErrAccountInvalid.At("scale")
	case a.AvailableMin != nil && *a.AvailableMin > 0:
		return ErrAccountInvalid.At("available_min") // a new account has nothing
	case a.AvailableMax != nil && *a.AvailableMax < 0:
		return ErrAccountInvalid.At("available_max")
	default:
		return nil
	}
}

// judge compares what was asked for with what is there now.
func (a *NewAccount) judge(byCode map[accountKey]Account, made ids.ID) AccountResult {
	found, ok := byCode[accountKey{a.OrgID, a.Code}]
	switch {
	case !ok:
		return AccountResult{Err: ErrAssetScale.At("scale")}
	case found.ID == made:
		return AccountResult{Account: found}
	case found.Type != a.Type || found.Asset != a.Asset || found.Scale != a.scale() ||
		!reflect.DeepEqual(found.AvailableMin, a.AvailableMin) || !reflect.DeepEqual(found.AvailableMax, a.AvailableMax) ||
		!sameJSON(found.Metadata, a.Metadata):
		return AccountResult{Account: found, Err: ErrAccountExists}
	default:
		return AccountResult{Account: found, Exists: true}
	}
}

func sameJSON(a, b []byte) bool {
	if len(a) == 0 || len(b) == 0 {
		return len(a) == len(b)
	}
	var x, y any
	return bytes.Equal(a, b) || (json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y))
}

func scanAccount(row pgx.CollectableRow) (Account, error) {
	var a Account
	err := row.Scan(&a.OrgID, &a.ID, &a.Code, &a.Type, &a.Asset, &a.Scale, &a.AvailableMin, &a.AvailableMax,
		&a.Balance.DebitsPosted, &a.Balance.CreditsPosted, &a.Balance.DebitsPending, &a.Balance.CreditsPending,
		&a.Version, &a.Metadata, &a.RecordedAt, &a.CreatedAt)
	a.RecordedAt, a.CreatedAt = a.RecordedAt.UTC(), a.CreatedAt.UTC()
	return a, err
}

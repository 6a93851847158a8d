package api

import (
	"strconv"
	"time"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/kit/ids"
	"github.com/kontorhq/kontor/internal/kit/paging"
)

// The ledger's answers are written by hand: they are made within a batch, one after the other, so their cost is the
// batch's. A test holds each against the contract.

// timeForm is RFC 3339 in UTC with microseconds, always as many digits.
const timeForm = "2006-01-02T15:04:05.000000Z"

func appendTime(out []byte, at time.Time) []byte {
	out = append(out, '"')
	out = at.UTC().AppendFormat(out, timeForm)
	return append(out, '"')
}

func appendTimeOrNull(out []byte, at time.Time) []byte {
	if at.IsZero() {
		return append(out, "null"...)
	}
	return appendTime(out, at)
}

func appendTextOrNull(out []byte, text string) []byte {
	if text == "" {
		return append(out, "null"...)
	}
	return appendText(out, []byte(text))
}

func appendInt(out []byte, name string, n int64) []byte {
	out = append(out, name...)
	return strconv.AppendInt(out, n, 10)
}

func appendIntOrNull(out []byte, name string, n *int64) []byte {
	if n == nil {
		return append(append(out, name...), "null"...)
	}
	return appendInt(out, name, *n)
}

func appendMetadata(out, metadata []byte) []byte {
	if len(metadata) == 0 {
		return append(out, "null"...)
	}
	return append(out, metadata...)
}

// appendEntry writes an Entry. Balances are given for the answer to a write; without them its movements are written.
func appendEntry(out []byte, e *ledger.Recorded, balances []ledger.AccountBalance) []byte {
	out = append(out, `{"id":"`...)
	out = append(out, ids.Format(ledger.EntryPrefix, e.ID)...)
	out = append(append(append(out, `","state":"`...), e.State...), `","code":`...)
	out = appendText(out, []byte(e.Code))
	out = appendTextOrNull(append(out, `,"reference":`...), e.Reference)
	out = appendTextOrNull(append(out, `,"reversal_of":`...), ids.Format(ledger.EntryPrefix, e.ReversalOf))
	effective := e.EffectiveAt
	if effective.IsZero() {
		effective = e.RecordedAt
	}
	out = appendTime(append(out, `,"effective_at":`...), effective)
	out = appendTime(append(out, `,"recorded_at":`...), e.RecordedAt)
	out = appendTimeOrNull(append(out, `,"expires_at":`...), e.ExpiresAt)
	out = appendMetadata(append(out, `,"metadata":`...), e.Metadata)
	out = append(out, `,"postings":[`...)
	for i := range e.Postings {
		p := &e.Postings[i]
		if p.Number != p.Origin {
			continue
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(appendSides(append(out, '{'), p), '}')
	}
	out = append(out, ']')
	if balances != nil {
		out = appendBalances(append(out, `,"balances":[`...), balances)
	} else {
		out = appendMovements(append(out, `,"movements":[`...), e.Postings)
	}
	return append(out, "]}"...)
}

func appendSides(out []byte, p *ledger.RecordedPosting) []byte {
	out = appendText(append(out, `"debit_account":`...), []byte(p.Debit))
	out = appendText(append(out, `,"credit_account":`...), []byte(p.Credit))
	return appendInt(out, `,"amount":`, p.Amount)
}

func appendMovements(out []byte, list []ledger.RecordedPosting) []byte {
	for i := range list {
		if i > 0 {
			out = append(out, ',')
		}
		p := &list[i]
		out = appendInt(out, `{"number":`, int64(p.Number))
		out = appendInt(out, `,"origin":`, int64(p.Origin))
		out = append(append(append(out, `,"phase":"`...), p.Phase...), `",`...)
		out = append(appendTime(append(appendSides(out, p), `,"recorded_at":`...), p.RecordedAt), '}')
	}
	return out
}

func appendBalances(out []byte, list []ledger.AccountBalance) []byte {
	for i := range list {
		if i > 0 {
			out = append(out, ',')
		}
		b := &list[i]
		out = appendText(append(out, `{"account":`...), []byte(b.Code))
		out = appendText(append(out, `,"asset":`...), []byte(b.Asset))
		out = appendInt(out, `,"scale":`, int64(b.Scale))
		out = appendBalance(out, b.Balance, b.Type)
		out = append(appendInt(out, `,"version":`, b.Version), '}')
	}
	return out
}

func appendBalance(out []byte, b ledger.Balance, t ledger.AccountType) []byte {
	out = appendInt(out, `,"posted":`, b.Posted(t))
	out = appendInt(out, `,"available":`, b.Available(t))
	out = appendInt(out, `,"debits_posted":`, b.DebitsPosted)
	out = appendInt(out, `,"credits_posted":`, b.CreditsPosted)
	out = appendInt(out, `,"debits_pending":`, b.DebitsPending)
	return appendInt(out, `,"credits_pending":`, b.CreditsPending)
}

func appendAccount(out []byte, a *ledger.Account) []byte {
	out = append(append(out, `{"id":"`...), ids.Format(ledger.AccountPrefix, a.ID)...)
	out = appendText(append(out, `","code":`...), []byte(a.Code))
	out = append(append(append(out, `,"type":"`...), a.Type...), `","asset":`...)
	out = appendText(out, []byte(a.Asset))
	out = appendInt(out, `,"scale":`, int64(a.Scale))
	out = appendIntOrNull(out, `,"available_min":`, a.AvailableMin)
	out = appendIntOrNull(out, `,"available_max":`, a.AvailableMax)
	out = appendBalance(out, a.Balance, a.Type)
	out = appendInt(out, `,"version":`, a.Version)
	out = appendMetadata(append(out, `,"metadata":`...), a.Metadata)
	return append(appendTime(append(out, `,"created_at":`...), a.CreatedAt), '}')
}

func appendBalanceAt(out []byte, a *ledger.Account, at time.Time, basis ledger.Basis, b ledger.Balance) []byte {
	out = appendText(append(out, `{"account":`...), []byte(a.Code))
	out = appendText(append(out, `,"asset":`...), []byte(a.Asset))
	out = appendInt(out, `,"scale":`, int64(a.Scale))
	out = appendTime(append(out, `,"at":`...), at)
	out = append(append(append(out, `,"basis":"`...), basis...), '"')
	return append(appendBalance(out, b, a.Type), '}')
}

func appendStatementLine(out []byte, s *ledger.StatementLine, t ledger.AccountType) []byte {
	out = append(append(out, `{"entry_id":"`...), ids.Format(ledger.EntryPrefix, s.EntryID)...)
	out = appendText(append(out, `","entry_code":`...), []byte(s.EntryCode))
	out = appendInt(out, `,"number":`, int64(s.Number))
	out = append(append(append(out, `,"phase":"`...), s.Phase...), `","side":"`...)
	out = appendText(append(append(out, s.Side...), `","counterpart":`...), []byte(s.Counterpart))
	out = appendBalance(appendInt(out, `,"amount":`, s.Amount), s.Balance, t)
	out = appendInt(out, `,"version":`, s.Version)
	out = appendTime(append(out, `,"recorded_at":`...), s.RecordedAt)
	effective := s.EffectiveAt
	if effective.IsZero() {
		effective = s.RecordedAt
	}
	return append(appendTime(append(out, `,"effective_at":`...), effective), '}')
}

// page writes a page of a list; item writes one of its n items. A cursor that is zero is the end.
func page(n int, item func(out []byte, i int) []byte, next paging.Cursor, list byte) reply {
	out := []byte(`{"data":[`)
	for i := range n {
		if i > 0 {
			out = append(out, ',')
		}
		out = item(out, i)
	}
	out = appendTextOrNull(append(out, `],"next_cursor":`...), next.Encode(list))
	out = append(out, `,"has_more":`...)
	return ok(append(strconv.AppendBool(out, !next.IsZero()), '}'))
}

package ledger_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kontorhq/kontor/internal/commerce/ledger"
	"github.com/kontorhq/kontor/internal/kit/ids"
)

// What is compared is compared as text, which is what a failure then shows.

func show(e ledger.Recorded) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s %s %s %q reverses %q about %x effective %s recorded %s expires %s %s", ids.Format("ent", e.ID), e.State, e.Code, e.Reference,
		ids.Format("ent", e.ReversalOf), e.SubjectID[12:], when(e.EffectiveAt), when(e.RecordedAt), when(e.ExpiresAt), canonical(e.Metadata))
	for _, l := range e.Postings {
		fmt.Fprintf(&out, "\n  %d<-%d %s %s>%s %d %s", l.Number, l.Origin, l.Phase, l.Debit, l.Credit, l.Amount, when(l.RecordedAt))
	}
	return out.String()
}

func when(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return at.Format(time.RFC3339Nano)
}

func canonical(raw []byte) string {
	if raw == nil {
		return "-"
	}
	var v map[string]string
	if err := json.Unmarshal(raw, &v); err != nil {
		return err.Error()
	}
	return fmt.Sprint(v)
}

func showAccount(a ledger.Account) string {
	bound := func(n *int64) string {
		if n == nil {
			return "-"
		}
		return fmt.Sprint(*n)
	}
	return fmt.Sprintf("%s %s %s %s [%s, %s] %+v version %d recorded %s created %s", ids.Format("acc", a.ID), a.Code, a.Type, a.Asset,
		bound(a.AvailableMin), bound(a.AvailableMax), a.Balance, a.Version, when(a.RecordedAt), when(a.CreatedAt))
}

func showLine(s *ledger.StatementLine) string {
	return fmt.Sprintf("%d: %s %s %d %s %s of %s %d at %s effective %s, then %+v", s.Version, ids.Format("ent", s.EntryID), s.EntryCode, s.Number, s.Phase,
		s.Side, s.Counterpart, s.Amount, when(s.RecordedAt), when(s.EffectiveAt), s.Balance)
}

func showBalance(b ledger.AccountBalance) string {
	return fmt.Sprintf("%s %s %s %s %+v version %d", ids.Format("acc", b.AccountID), b.Code, b.Type, b.Asset, b.Balance, b.Version)
}

func showBalances(list []ledger.AccountBalance) string {
	out := make([]string, len(list))
	for i, b := range list {
		out[i] = showBalance(b)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// showTouched are the balances of accounts as they are now.
func (m *model) showTouched(codes []string) string {
	list := make([]ledger.AccountBalance, len(codes))
	for i, code := range codes {
		a := m.accounts[code]
		list[i] = ledger.AccountBalance{
			AccountID: a.id, Code: code, Type: a.terms.Type, Asset: a.terms.Asset, Balance: a.totals(always).balance(), Version: int64(len(a.moves)),
		}
	}
	return showBalances(list)
}

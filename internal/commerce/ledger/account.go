package ledger

import (
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// AccountType says on which side an account grows.
type AccountType string

// The account types. Assets and expenses grow by debits, the others by credits.
const (
	Asset     AccountType = "asset"
	Liability AccountType = "liability"
	Income    AccountType = "income"
	Expense   AccountType = "expense"
	Equity    AccountType = "equity"
)

// Valid tells whether it is one of the types.
func (t AccountType) Valid() bool {
	switch t {
	case Asset, Liability, Income, Expense, Equity:
		return true
	default:
		return false
	}
}

func (t AccountType) growsByDebits() bool { return t == Asset || t == Expense }

// Balance is the four totals of an account, in minor units of its asset; none is ever negative.
type Balance struct {
	DebitsPosted   int64
	CreditsPosted  int64
	DebitsPending  int64
	CreditsPending int64
}

// Posted is the balance of what is posted, positive on the side on which the account grows.
func (b Balance) Posted(t AccountType) int64 {
	if t.growsByDebits() {
		return b.DebitsPosted - b.CreditsPosted
	}
	return b.CreditsPosted - b.DebitsPosted
}

// Available is what can still go out: the posted balance less the holds against it.
func (b Balance) Available(t AccountType) int64 {
	if t.growsByDebits() {
		return b.DebitsPosted - b.CreditsPosted - b.CreditsPending
	}
	return b.CreditsPosted - b.DebitsPosted - b.DebitsPending
}

// Potential is what the balance would come to if every hold in its favour were posted.
func (b Balance) Potential(t AccountType) int64 {
	if t.growsByDebits() {
		return b.DebitsPosted - b.CreditsPosted + b.DebitsPending
	}
	return b.CreditsPosted - b.DebitsPosted + b.CreditsPending
}

// Account holds one asset.
type Account struct {
	OrgID        ids.ID
	ID           ids.ID
	Code         string
	Type         AccountType
	Asset        string
	Scale        int16
	AvailableMin *int64 // bound on Available
	AvailableMax *int64 // bound on Potential
	Balance      Balance
	Version      int64 // postings so far
	Metadata     []byte
	RecordedAt   time.Time // of the last posting
	CreatedAt    time.Time
}

// AccountBalance is an account's balance right after an entry.
type AccountBalance struct {
	AccountID ids.ID
	Code      string
	Type      AccountType
	Asset     string
	Scale     int16
	Balance   Balance
	Version   int64
}

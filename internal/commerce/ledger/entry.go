package ledger

import (
	"regexp"
	"time"

	"github.com/kontorhq/kontor/internal/kit/ids"
)

// Action is what an Entry asks for.
type Action int

// The actions.
const (
	ActionPost    Action = iota // a new entry, posted at once
	ActionHold                  // a new entry, pending
	ActionSettle                // post a pending entry, wholly or in part
	ActionRelease               // void what is left of a pending entry
	ActionReverse               // a new entry that undoes a posted one
	actionExpire                // as ActionRelease, because its time has come
)

// Posting moves an amount, in minor units, from a debit account to a credit account.
type Posting struct {
	Debit  string
	Credit string
	Amount int64
}

// The bounds of an entry.
const (
	PostingsMax  = 100
	EntriesMax   = 1000 // in one call of Post
	codeMax      = 64
	referenceMax = 255
)

// Entry is one order to the ledger.
type Entry struct {
	OrgID       ids.ID
	ID          ids.ID // of a new entry; zero: made
	Action      Action
	Code        string // what kind of event this books, such as payment.captured
	Reference   string // the caller's own name for the entry, unique when given
	Postings    []Posting
	EffectiveAt time.Time // zero: when it is recorded
	ExpiresAt   time.Time // of a hold; zero: never
	Metadata    []byte    // a JSON object, or nil
	SubjectID   ids.ID    // what the entry is about

	Target  ids.ID  // of settle, release, reverse
	Amounts []int64 // of settle: one a posting; nil: all that is left
	Keep    bool    // of settle: what is left stays pending
}

// Recorded is an entry as it stands in the books.
type Recorded struct {
	OrgID       ids.ID
	ID          ids.ID
	State       State
	Code        string
	Reference   string
	ReversalOf  ids.ID
	SubjectID   ids.ID
	EffectiveAt time.Time
	RecordedAt  time.Time
	ExpiresAt   time.Time
	Metadata    []byte
	Postings    []RecordedPosting
}

// State of an entry.
type State string

// The states. A pending entry that was settled in part and then released is posted.
const (
	StatePosted  State = "posted"
	StatePending State = "pending"
	StateVoided  State = "voided"
	StateExpired State = "expired"
)

// Phase says what a recorded posting did to the balances.
type Phase string

// The phases.
const (
	PhasePosted   Phase = "posted"   // straight to the posted totals
	PhasePending  Phase = "pending"  // to the pending totals
	PhaseSettled  Phase = "settled"  // from pending to posted
	PhaseReleased Phase = "released" // out of pending
)

// RecordedPosting is one line of an entry. Settling and releasing add lines whose Origin is the line they act on.
type RecordedPosting struct {
	Number     int
	Origin     int
	Phase      Phase
	Debit      string
	Credit     string
	Amount     int64
	RecordedAt time.Time
}

// Result is what became of one Entry: the entry as it stands and the balances it left behind, or an error without any effect.
type Result struct {
	Entry    Recorded
	Balances []AccountBalance
	Err      error
}

// codeForm is the form of an account's code: up to 16 segments of letters, digits and _ . : -, divided by slashes.
var codeForm = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,64}(/[A-Za-z0-9_.:-]{1,64}){0,15}$`)

// assetForm is the form of an asset: a currency, or a stock item.
var assetForm = regexp.MustCompile(`^[A-Z][A-Z0-9_.-]{0,31}$`)

// validate checks what can be checked without the books.
func (e *Entry) validate() error {
	switch e.Action {
	case ActionPost, ActionHold:
		return e.validateNew()
	case ActionSettle:
		for _, amount := range e.Amounts {
			if amount < 0 {
				return ErrAmountNotPositive.At("amounts")
			}
		}
	case ActionReverse:
		if len(e.Reference) > referenceMax || len(e.Code) > codeMax {
			return ErrTooLong
		}
	}
	if e.Target.IsZero() {
		return ErrEntryNotFound
	}
	return nil
}

func (e *Entry) validateNew() error {
	if len(e.Postings) == 0 || len(e.Postings) > PostingsMax {
		return ErrPostingCount.At("postings")
	}
	if e.Code == "" || len(e.Code) > codeMax || len(e.Reference) > referenceMax {
		return ErrTooLong
	}
	if !e.ExpiresAt.IsZero() && e.Action != ActionHold {
		return ErrOnlyPendingExpires.At("expires_at")
	}
	for _, p := range e.Postings {
		if p.Amount <= 0 {
			return ErrAmountNotPositive.At("amount")
		}
		if p.Debit == p.Credit {
			return ErrAccountsMustDiffer.At("credit_account")
		}
	}
	return nil
}

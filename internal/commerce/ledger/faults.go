package ledger

import "github.com/kontorhq/kontor/internal/kit/fault"

// The ledger's faults. Their codes are part of the API.
var (
	ErrAccountNotFound     = fault.New(fault.NotFound, "account_not_found", "There is no such account.")
	ErrAccountExists       = fault.New(fault.Conflict, "account_exists_with_different_terms", "An account with this code exists, with another type, asset, scale or bounds.")
	ErrAccountInvalid      = fault.New(fault.Invalid, "account_invalid", "The account's code, type, asset or bounds are not of their form.")
	ErrAssetScale          = fault.New(fault.Conflict, "asset_exists_with_different_scale", "This asset exists with another scale; all accounts of an asset share it.")
	ErrAccountsMustDiffer  = fault.New(fault.Invalid, "accounts_must_differ", "A posting needs two different accounts.")
	ErrAssetsMustMatch     = fault.New(fault.Invalid, "assets_must_match", "The two accounts of a posting must hold the same asset.")
	ErrAmountNotPositive   = fault.New(fault.Invalid, "amount_must_be_positive", "An amount must be above zero.")
	ErrPostingCount        = fault.New(fault.Invalid, "posting_count", "An entry has 1 to 100 postings.")
	ErrEntryCount          = fault.New(fault.Invalid, "entry_count", "A batch has 1 to 1000 entries.")
	ErrTooLong             = fault.New(fault.Invalid, "code_invalid", "A code has 1 to 64 characters, a reference at most 255.")
	ErrOnlyPendingExpires  = fault.New(fault.Invalid, "only_pending_expires", "Only a pending entry can have an expiry.")
	ErrOverflow            = fault.New(fault.Conflict, "overflow", "The account's totals would leave the range of a 64-bit integer.")
	ErrExceedsAvailable    = fault.New(fault.Conflict, "exceeds_available", "The account's available balance would fall below its bound.")
	ErrExceedsAvailableMax = fault.New(fault.Conflict, "exceeds_available_max", "The account's balance would rise above its bound.")
	ErrExceedsPending      = fault.New(fault.Conflict, "exceeds_pending", "The entry holds less than that.")
	ErrEntryNotFound       = fault.New(fault.NotFound, "entry_not_found", "There is no such entry.")
	ErrAlreadyPosted       = fault.New(fault.Conflict, "entry_already_posted", "The entry is posted already.")
	ErrAlreadyVoided       = fault.New(fault.Conflict, "entry_already_voided", "The entry was voided.")
	ErrExpired             = fault.New(fault.Conflict, "entry_expired", "The entry has expired.")
	ErrNotPosted           = fault.New(fault.Conflict, "entry_not_posted", "Only a posted entry can be reversed; void a pending one.")
	ErrAlreadyReversed     = fault.New(fault.Conflict, "already_reversed", "The entry was reversed already.")
	ErrAmountCount         = fault.New(fault.Invalid, "amount_count", "Give one amount for each posting of the entry, in their order.")

	ErrExists             = fault.New(fault.Conflict, "exists", "An equal entry with this reference exists.")
	ErrExistsOtherAmount  = fault.New(fault.Conflict, "exists_with_different_amount", "An entry with this reference exists, with another amount.")
	ErrExistsOtherAccount = fault.New(fault.Conflict, "exists_with_different_accounts", "An entry with this reference exists, with other accounts or another number of postings.")
	ErrExistsOtherCode    = fault.New(fault.Conflict, "exists_with_different_code", "An entry with this reference exists, with another code.")
	ErrExistsOtherState   = fault.New(fault.Conflict, "exists_with_different_state", "An entry with this reference exists: one is pending, the other posted at once.")
	ErrExistsOtherDate    = fault.New(fault.Conflict, "exists_with_different_effective_at", "An entry with this reference exists, with another effective date.")
)

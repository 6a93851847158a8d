package access

import (
	"time"

	"github.com/kontorhq/kontor/internal/kit/fault"
)

// Why a request is not let in. Compare with errors.Is.
var (
	ErrKeyMissing   = fault.New(fault.Unauthenticated, "key_missing", "The request has no API key. Send it as: Authorization: Bearer ktr_…")
	ErrKeyMalformed = fault.New(fault.Unauthenticated, "key_malformed", "This is not a whole API key: its form or its checksum is wrong.")
	ErrKeyUnknown   = fault.New(fault.Unauthenticated, "key_unknown", "There is no such API key here.")
	ErrKeyRevoked   = fault.New(fault.Unauthenticated, "key_revoked", "The API key has been revoked.")
	ErrKeyExpired   = fault.New(fault.Unauthenticated, "key_expired", "The API key has expired.")
	// ErrUnavailable says that the database could not be asked.
	ErrUnavailable = fault.New(fault.Unavailable, "authentication_unavailable",
		"The API key could not be checked; nothing was done. Repeat the request.").After(time.Second)
)

// What can be wrong with organisations, and with making and revoking keys.
var (
	ErrOrganisationMalformed = fault.New(fault.Invalid, "organisation_malformed",
		"An organisation's name has 1 to 63 of a-z, 0-9 and -, and does not begin with -.").At("organisation")
	ErrOrganisationNotFound = fault.New(fault.NotFound, "organisation_not_found",
		"There is no organisation of that name. It is made with its first key: kontor keys create --organisation NAME.").At("organisation")
	ErrKeyNameMalformed = fault.New(fault.Invalid, "key_name_malformed", "A key's name has 1 to 100 characters.").At("name")
	ErrExpiryPassed     = fault.New(fault.Invalid, "key_expiry_passed", "The key would have expired already.").At("expires_at")
	ErrKeyNotFound      = fault.New(fault.NotFound, "key_not_found", "There is no such API key.")
)

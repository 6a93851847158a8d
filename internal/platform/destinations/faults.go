package destinations

import "github.com/kontorhq/kontor/internal/kit/fault"

// The module's faults. Their codes are part of the API.
var (
	ErrNotFound = fault.New(fault.NotFound, "destination_not_found", "There is no such destination. Make it with POST /v1/destinations.")
	ErrExists   = fault.New(fault.Conflict, "destination_exists", "A destination of that name exists.").At("name")
	ErrVersion  = fault.New(fault.Conflict, "destination_changed", "The destination was changed since it was read. Read it again and repeat the change.")
	ErrInUse    = fault.New(fault.Conflict, "destination_in_use", "Tasks still need the destination. Cancel or finish them first.")
	ErrInvalid  = fault.New(fault.Invalid, "destination_invalid", "The destination cannot be used as it is described.")
)

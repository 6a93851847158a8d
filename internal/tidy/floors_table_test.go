package tidy

// storey is one floor of the house, with its rooms in the order in which they may stand on each other.
type storey struct {
	name  string
	owns  string // in one sentence, for the diagram
	rooms []room
}

// room is a package and what it may import of ours. Tests may import whatever stands on their floor or below.
type room struct {
	path    string
	imports string // names as in the table, without internal/; those above it in the table only
}

// houseTable is the whole truth about who may import whom. Calls go down: a package may import only what stands above it
// in this table. A new arrow is a new word here; think twice.
func houseTable() []storey {
	return []storey{
		{"ground", "what is written down rather than programmed, and the client for users", []room{
			{"api", ""},
			{"migrations", ""},
			{"client", ""},
		}},
		{"kit", "knows nothing of Kontor", []room{
			{"kit/fault", ""},
			{"kit/ids", ""},
			{"kit/clock", ""},
			{"kit/money", ""},
			{"kit/paging", "kit/ids"},
			{"kit/lane", "kit/fault"},
			{"kit/series", ""},
			{"kit/telemetry", ""},
			{"kit/egress", ""},
			{"kit/badserver", ""},
			{"kit/progress", "kit/clock"},
			{"kit/pgserver", ""},
			{"kit/postgres", "migrations kit/fault kit/ids"},
			{"kit/nettest", ""},
			{"kit/postgrestest", "migrations kit/pgserver kit/postgres"},
			{"kit/postgrestest/cluster", "kit/pgserver kit/postgrestest"},
			{"kit/proof", "kit/clock kit/ids kit/postgres kit/progress"},
			{"kit/prooftest", "kit/clock kit/postgres kit/proof"},
			{"kit/seriestest", ""},
		}},
		{"platform", "what any backend needs", []room{
			{"platform/access", "kit/clock kit/fault kit/ids kit/postgres"},
			{"platform/events", "kit/ids kit/paging kit/postgres kit/proof"},
			{"platform/limits", "kit/ids kit/postgres kit/proof kit/series"},
			{"platform/destinations", "kit/clock kit/egress kit/fault kit/ids kit/postgres kit/proof kit/series platform/events platform/limits"},
			{"platform/tasks", "kit/egress kit/fault kit/ids kit/lane kit/paging kit/postgres kit/proof kit/series platform/events platform/limits platform/destinations"},
			{"platform/schedules", "kit/fault kit/ids kit/paging kit/postgres kit/proof platform/events platform/tasks"},
			{"platform/command", "kit/fault kit/ids kit/lane kit/postgres kit/proof"},
		}},
		{"commerce", "order to cash", []room{
			{"commerce/ledger", "kit/fault kit/ids kit/money kit/paging kit/postgres kit/proof platform/events"},
			{"commerce/payments", "kit/fault kit/ids kit/lane kit/money kit/paging kit/postgres kit/proof " +
				"platform/events platform/tasks commerce/ledger"},
			{"commerce/payments/providertest", "kit/ids commerce/payments"},
			{"commerce/payments/sandbox", "kit/badserver kit/clock kit/fault kit/ids commerce/payments"},
		}},
		{"edge", "how people and programs reach it", []room{
			{"edge/api", "api kit/clock kit/fault kit/ids kit/lane kit/paging kit/postgres kit/telemetry " +
				"platform/access platform/command platform/events platform/destinations platform/schedules platform/tasks commerce/ledger commerce/payments"},
			{"edge/hooks", "kit/fault kit/ids kit/telemetry commerce/payments"},
			{"client/tx", "kit/clock kit/fault kit/ids platform/access platform/tasks"},
		}},
		{"app", "puts it together", []room{
			{"app/verify", "kit/clock kit/postgres kit/progress kit/proof platform/command platform/destinations platform/events " +
				"platform/limits platform/schedules platform/tasks " +
				"commerce/ledger commerce/payments"},
			{"app/why", "kit/ids kit/money kit/postgres"},
			{"app/mockapi", "kit/badserver"},
			{"app/importer", "kit/progress"},
			{"app/simulate", "client kit/clock kit/ids kit/pgserver kit/postgres kit/progress platform/access commerce/payments/sandbox app/verify"},
			{"app", "client kit/clock kit/fault kit/ids kit/lane kit/money kit/pgserver kit/postgres kit/progress kit/proof kit/telemetry " +
				"platform/access platform/events platform/limits platform/destinations platform/schedules platform/tasks commerce/ledger commerce/payments commerce/payments/sandbox " +
				"edge/api edge/hooks app/importer app/mockapi app/simulate app/verify app/why"},
			{"cmd/kontor", "app"},
			{"e2e", ""},
			{"tidy", ""},
		}},
	}
}

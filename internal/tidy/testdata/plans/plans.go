// stands in internal/commerce/fixture

// Package fixture has statements that walk where they should probe.
package fixture

// hot
const probeSQL = `select p.id from payment p where p.org_id = $1 and p.id = $2`

const (
	// hot
	wholeTableSQL = `select count(*) from inbox_record` // want: inbox_record_
	// hot
	unindexedSQL = `select p.id from payment p where p.description = $1` // want: payment
	// hot
	tenantSQL = `select p.id from payment p where p.org_id = $1 and p.description = $2` // want: payment

	coldSQL = `select count(*) from payment p where p.description = $1`
)

// hot
const scanSQL = `select g.version_id from goose_db_version g where g.is_applied` // want: Seq Scan

// stands in internal/commerce/fixture

// Package fixture has statements that fit the schema, and some that do not.
package fixture

// hot
const goodSQL = `select p.id from payment p where p.org_id = $1 and p.id = $2`

const (
	goneColumnSQL = `select p.colour from payment p` // want: colour does not exist
	goneTableSQL  = `select b.id from basket b`      // want: "basket" does not exist
	typedSQL      = `select $1`
	badTypeSQL    = `update payment set amount = 'x'`  // want: invalid input syntax
	twoSQL        = `select 1; select 2`               // want: cannot insert multiple commands
	danglingSQL   = `select p.id from payment p where` // want: syntax error
)

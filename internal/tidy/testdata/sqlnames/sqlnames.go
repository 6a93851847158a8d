// stands in internal/commerce/fixture

// Package fixture hides statements under other names.
package fixture

const goodSQL = `
	select a.id from account a`

const hidden = `select a.id from account a` // want: SQL outside

const sentence = "select the one you like; update what is set"

func use(s string) string {
	const within = "update account set name = $1"  // want: SQL outside
	return s + "delete from account where id = $1" // want: SQL outside
}

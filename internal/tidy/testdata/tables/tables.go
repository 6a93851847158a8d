// stands in internal/commerce/fixture

// Package fixture owns the table own_thing.
package fixture

const insertSQL = `insert into own_thing (id) values ($1)`

const updateSQL = `
	with found as (select id from other_thing for update)
	update own_thing o set id = $1 from found where found.id = o.id`

const foreignSQL = `update other_thing t set id = $1` // want: other_thing

const ( // in a group
	groupedSQL = "with gone as (delete from third_thing where id = $1 returning id) insert into own_thing select id from gone" // want: third_thing
)

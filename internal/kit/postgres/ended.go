package postgres

// AtEnd has f told, once the transaction has ended, whether it is known to be committed: of one whose COMMIT was not
// answered, as of one that was rolled back, f hears that it is not. It is false, and f is never called, for a Tx that is not
// of this package's making.
func AtEnd(tx Tx, f func(committed bool)) bool {
	own, ok := tx.(*transaction)
	if ok {
		own.atEnd = append(own.atEnd, f)
	}
	return ok
}

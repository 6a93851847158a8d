package postgres

import "github.com/jackc/pgx/v5"

// lastRows are the rows of a batch's last statement; with them ends the batch.
type lastRows struct {
	pgx.Rows
	results pgx.BatchResults
	err     error // of the batch, once it has ended
}

// lastOf reads the results of a batch of which nothing but the last statement's rows is left.
func lastOf(results pgx.BatchResults) (pgx.Rows, error) {
	rows, err := results.Query()
	last := &lastRows{Rows: rows, results: results}
	if err != nil {
		last.Close()
	}
	return last, err
}

// Next implements pgx.Rows.
func (r *lastRows) Next() bool {
	more := r.Rows.Next()
	if !more {
		r.Close()
	}
	return more
}

// Close implements pgx.Rows.
func (r *lastRows) Close() {
	r.Rows.Close()
	r.err = r.results.Close()
}

// Err implements pgx.Rows.
func (r *lastRows) Err() error {
	if r.err != nil {
		return r.err
	}
	return r.Rows.Err()
}
